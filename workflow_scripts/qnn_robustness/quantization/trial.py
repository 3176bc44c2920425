"""A first run of a .tflite file from outside, in a process of its own: what crashes there crashes nothing else.

TFLite's interpreter trusts its file: sizes, strides and types that do not fit end in a segmentation fault, a
division by zero or no end at all.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import read_graph

SECONDS = 120
MAX_BYTES = 8 * 2**30  # of address space
FLOAT_TOLERANCE = 1e-4  # of float32 outputs alone and in a batch: sums may be in another order
MAX_ACTIVATIONS = 2**28  # values of one tensor
LIBRARY = str(Path(__file__).resolve().parents[2])


def try_out(path: str | Path, kernels: Iterable[str]) -> None:
    """Run a .tflite file on black and on random inputs with each kernel set, single and in a batch.

    Raises UserError, with one line, when the file is damaged, or crashes or stops the interpreter.
    """
    graph = read_graph(path)
    for tensor in graph.tensors:
        if np.prod(tensor.shape, dtype=np.float64) > MAX_ACTIVATIONS:
            raise UserError(f"{path}: tensor {tensor.index} has the shape {tensor.shape}, too large to be run")
    in_own_process(path, "qnn_robustness.quantization.trial", *kernels, what="the TFLite interpreter", seconds=SECONDS)


def in_own_process(path: str | Path, module: str, *arguments: str, what: str, seconds: int) -> None:
    """Run `python -m module path arguments`; what it writes to its last line of stderr is why the file is refused.

    Raises UserError, with one line, when it fails, crashes (`what` names the program that then did) or does not end.
    """
    # -P: a module in the working directory, where the file may have been downloaded to, is none of Python's.
    command = [sys.executable, "-P", "-m", module, str(path), *arguments]
    environment = {**os.environ, "PYTHONPATH": LIBRARY, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise UserError(f"{path}: does not answer within {seconds} s; convert the model again") from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise UserError(f"{path}: crashes {what} ({name}): damaged, or not made by TensorFlow")
    if done.returncode:
        # the interpreter writes names as they are in the file
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"status {done.returncode}"]
        reason = lines[-1].removeprefix("error: ").removeprefix(f"{path}: ")
        raise UserError(f"{path}: {reason}")


def _run(path: str, kernels: Iterable[str]) -> None:
    from qnn_robustness.quantization.tflite_model import TFLiteModel

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    for name in kernels:
        model = TFLiteModel(path, name)
        if not model.gives_scores:
            raise UserError(
                f"{path}: gives codes without a scale, of which there are no scores; convert the model again"
            )
        tolerance = FLOAT_TOLERANCE if model.precision == "float32" else 0
        shape = (2, *model.input_shape)
        for samples in (np.zeros(shape, np.float32), np.random.default_rng(0).random(shape, np.float32)):
            outputs = model.predict(samples)
            if outputs.shape[0] != 2 or outputs.ndim != 2:
                raise UserError(f"{path}: gives outputs of shape {outputs.shape} for 2 inputs; expected (2, classes)")
            if not np.isfinite(outputs).all():
                raise UserError(f"{path}: gives outputs that are no numbers")
            if np.abs(model.predict(samples[:1]) - outputs[:1]).max() > tolerance * np.abs(outputs).max():
                raise UserError(f"{path}: answers differently alone and in a batch")


if __name__ == "__main__":
    try:
        _run(sys.argv[1], sys.argv[2:])
    except UserError as error:
        sys.exit(f"error: {error}")
    except (MemoryError, RuntimeError, ValueError) as error:
        sys.exit(f"error: {sys.argv[1]}: cannot be run ({error})")
