"""What can be made of a float32 network from outside, tried before anything is planned."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qnn_robustness.quantization.trial import in_own_process

PROCESS = f"{__name__}_process"
SECONDS = 600


@dataclass(frozen=True)
class Trial:
    """What was found: `output` is `logits` or `softmax`.

    By integer precision: why it cannot be made or run (`failed`), or the integer model be made of it (`lacking`).
    """

    output: str
    failed: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)


def convert_on_trial(path: str | Path, classes: Collection[str], kernels: Mapping[str, Sequence[str]]) -> Trial:
    """Quantize a float32 network, as its import would make it, to every integer precision, calibrated by noise.

    `kernels` are the kernel sets that each precision has to run on. In a process of its own: TensorFlow and its
    messages stay there.

    Raises UserError, with one line, for a file that holds no network or has not one output for each class.
    """
    wanted = json.dumps({"classes": [*classes], "kernels": {precision: [*sets] for precision, sets in kernels.items()}})
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "trial.json"
        in_own_process(path, PROCESS, wanted, str(answer), what="the TFLite converter", seconds=SECONDS)
        return Trial(**json.loads(answer.read_text(encoding="utf-8")))
