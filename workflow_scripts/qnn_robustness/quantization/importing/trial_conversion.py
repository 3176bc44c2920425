"""What can be made of a float32 network from outside, tried before anything is planned."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from qnn_robustness.quantization.trial import in_own_process

PROCESS = f"{__name__}_process"
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
        in_own_process(path, PROCESS, output, str(answer), what="the TFLite converter", seconds=SECONDS)
        return Trial(**json.loads(answer.read_text(encoding="utf-8")))
