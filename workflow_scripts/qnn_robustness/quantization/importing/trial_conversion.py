"""What can be made of a float32 network from outside, tried before anything is planned."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.trial import in_own_process, try_out

SAMPLES = 4  # that calibrate the trial: the operators of a file do not depend on their values
SECONDS = 600


@dataclass(frozen=True)
class Trial:
    """By integer precision: why it cannot be made or run (`failed`), what the integer model lacks (`lacking`)."""

    failed: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)


def convert_on_trial(path: str | Path, output: str) -> Trial:
    """Quantize a float32 network, as its import would make it, to every integer precision, calibrated by noise.

    `output` is `logits` or `softmax`. In a process of its own: TensorFlow and its messages stay there.

    Raises UserError, with one line, for a file that holds no network.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "trial.json"
        in_own_process(path, __name__, output, str(answer), what="the TFLite converter", seconds=SECONDS)
        return Trial(**json.loads(answer.read_text(encoding="utf-8")))


def _convert(path: str, output: str, answer: str) -> None:
    # here, because the process that asks does without TensorFlow
    from qnn_robustness.common.scaling import InputScaling
    from qnn_robustness.configuration.craftings import lacking_operator
    from qnn_robustness.quantization.convert import PRECISIONS, convert
    from qnn_robustness.quantization.importing.float_file import flat, load, with_logits, without_rescaling

    network, _ = without_rescaling(with_logits(flat(load(path)), output), InputScaling())
    noise = np.random.default_rng(0).uniform(size=(SAMPLES, *network.input_shape[1:])).astype(np.float32)
    trial = Trial()
    for precision in PRECISIONS:
        file = Path(answer).with_name(f"{precision}.tflite")
        try:
            file.write_bytes(convert(network, precision, noise, output))
            try_out(file, ["reference"])  # the converter also makes what no kernel runs
        except UserError as error:
            trial.failed[precision] = str(error).removeprefix(f"{file}: ")
            continue
        if reason := lacking_operator(str(file)):
            trial.lacking[precision] = reason.removeprefix(f"{file}: ")
    Path(answer).write_text(json.dumps(asdict(trial)), encoding="utf-8")


if __name__ == "__main__":
    try:
        _convert(*sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
