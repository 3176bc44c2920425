"""The process in which a float32 network is converted on trial: the one that asks does without TensorFlow."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.scaling import InputScaling
from qnn_robustness.models.float_network import predict
from qnn_robustness.quantization.convert import PRECISIONS, convert
from qnn_robustness.quantization.importing.declaration import wrong_outputs
from qnn_robustness.quantization.importing.float_file import (
    are_probabilities,
    flat,
    load,
    with_logits,
    without_rescaling,
)
from qnn_robustness.quantization.importing.trial_conversion import Trial
from qnn_robustness.quantization.integer_model.model import IntegerModel
from qnn_robustness.quantization.trial import try_out

SAMPLES = 4  # that calibrate the trial: the operators of a file do not depend on their values


def _convert(path: str, wanted: str, answer: str) -> None:
    """Write what came of quantizing a network to every precision; `answer` is a file in a folder of its own."""
    given, entry = flat(load(path)), json.loads(wanted)
    if reason := wrong_outputs(given.output_shape[1:], entry["classes"]):
        raise UserError(f"{path}: {reason}")
    noise = np.random.default_rng(0).uniform(size=(SAMPLES, *given.input_shape[1:])).astype(np.float32)
    output = "softmax" if are_probabilities(predict(given, noise)) else "logits"
    network, _ = without_rescaling(with_logits(given, output), InputScaling())
    trial = Trial(output)
    for precision in PRECISIONS:
        file = Path(answer).with_name(f"{precision}.tflite")
        try:
            file.write_bytes(convert(network, precision, noise, output))
            try_out(file, entry["kernels"][precision])  # the converter also makes what no kernel runs
        except UserError as error:
            trial.failed[precision] = str(error).removeprefix(f"{file}: ")
            continue
        try:
            IntegerModel.from_file(file, entry["kernels"][precision][0])
        except UserError as error:
            trial.lacking[precision] = str(error).removeprefix(f"{file}: ")
    Path(answer).write_text(json.dumps(asdict(trial)), encoding="utf-8")


if __name__ == "__main__":
    try:
        _convert(*sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
