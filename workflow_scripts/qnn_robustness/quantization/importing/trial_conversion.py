"""What can be made of a float32 network from outside, tried before anything is planned."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.scaling import InputScaling
from qnn_robustness.configuration.craftings import lacking_operator
from qnn_robustness.quantization.convert import PRECISIONS, convert
from qnn_robustness.quantization.importing.float_file import load, with_logits, without_rescaling

SAMPLES = 4  # that calibrate the trial: the operators of a file do not depend on their values


@dataclass(frozen=True)
class Trial:
    """Why an integer precision cannot be made (`failed`), and what the integer model lacks of one (`lacking`)."""

    failed: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)


def convert_on_trial(path: str | Path) -> Trial:
    """Quantize a float32 network to every integer precision, calibrated by noise.

    Raises UserError, with one line, for a file that holds no network.
    """
    network, _ = without_rescaling(with_logits(load(path), "logits"), InputScaling())
    noise = np.random.default_rng(0).uniform(size=(SAMPLES, *network.input_shape[1:])).astype(np.float32)
    trial = Trial()
    with tempfile.TemporaryDirectory() as folder:
        for precision in PRECISIONS:
            file = Path(folder) / f"{precision}.tflite"
            try:
                file.write_bytes(convert(network, precision, noise))
            except UserError as error:
                trial.failed[precision] = str(error)
                continue
            if reason := lacking_operator(str(file)):
                trial.lacking[precision] = reason.removeprefix(f"{file}: ")
    return trial
