"""Why the integer model cannot be made of a .tflite file, found out before anything is planned.

It is built for it, as the jobs would build it, in a process of its own: the one that asks does without TensorFlow.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from qnn_robustness.common.code_hash import code_hash
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import sha256_file, sha256_json, write_json
from qnn_robustness.quantization.flatbuffer import precision_of, read_graph
from qnn_robustness.quantization.integer_model.operators import check_operators
from qnn_robustness.quantization.trial import in_own_process

PROCESS = "qnn_robustness.quantization.integer_model.refusal_process"
SECONDS = 600
# Of a run, in its working directory: every job reads the configuration, and is not to build the model anew.
KEPT = Path(".snakemake/integer_models")

_known: dict[str, str | None] = {}


def refusal(file: str | Path, kernels: str = "reference") -> str | None:
    """Return why the integer model cannot be made of an int8 or int16 file, or compared, on a kernel set, in one line.

    None where it can, and for a file that is no such network, which its import tells. Answers are kept for each
    content of a file and each state of the code.

    Raises UserError, with one line, when the process gives none: what crashes, or does not end, is no answer to keep.
    """
    try:
        graph = read_graph(file)
        if precision_of(graph) == "float32":
            return None
    except UserError:
        return None
    try:
        check_operators(graph)
    except UserError as error:
        return str(error).removeprefix(f"{file}: ")
    key = sha256_json([sha256_file(file), kernels, code_hash(Path(__file__).with_name("refusal_process.py"))])
    if key not in _known:
        _known[key] = _kept(file, kernels, KEPT / f"{key}.json")
    return _known[key]


def _kept(file: str | Path, kernels: str, place: Path) -> str | None:
    try:
        return json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        answer = _tried(file, kernels)
    if KEPT.parent.is_dir():
        write_json(place, answer)
    return answer


def _tried(file: str | Path, kernels: str) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        in_own_process(file, PROCESS, kernels, str(answer), what="the integer model", seconds=SECONDS)
        reason = json.loads(answer.read_text(encoding="utf-8"))
    return reason and reason.removeprefix(f"{file}: ")
