"""Comparison of the integer model with the TFLite interpreter: evidence, and guard of crafting jobs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.integer_model.model import KERNELS, IntegerModel, on_known_processor
from qnn_robustness.quantization.tflite_model import TFLiteModel


def check_exactness(model: IntegerModel, path: str | Path, samples: np.ndarray, threads: int = 1) -> int:
    """Return the number of output bytes in which model and TFLite interpreter differ: 0 when all is well.

    samples: codes [N, H, W, C] of the network's input type, or float32 in the unit that the model's `scaling` starts
    from, which model and file quantize each by itself. The interpreter runs `path` on the model's kernel set with this
    many threads. Callers treat any other result than 0 as a failure; `mismatch_message` words it.

    Raises UserError when the interpreter cannot run the file.
    """
    expected = interpreter_outputs(model, path, samples, threads)
    computed = model.forward_quantized(samples if _are_codes(samples) else model.quantize(samples))
    return int(np.count_nonzero(_bytes(expected) != _bytes(computed)))


def mismatch_message(model: IntegerModel, differing: int) -> str:
    """One line for a failed `check_exactness`, with advice that fits this processor."""
    message = f"{model.path}: {differing} output bytes differ from the TFLite interpreter's {model.kernels} kernels"
    if model.kernels != "reference" and not on_known_processor():
        return (
            f"{message}; the arithmetic of `{model.kernels}` was established on x86 processors and this is "
            f"{platform.machine()}: use kernels `reference`, which is the same everywhere"
        )
    return f"{message}; this is a fault of the integer model, please report it with the file"


def interpreter_outputs(model: IntegerModel, path: str | Path, samples: np.ndarray, threads: int = 1) -> np.ndarray:
    """Return the output codes [N, classes] of the TFLite interpreter on the model's kernel set."""
    network = TFLiteModel(path, model.kernels, threads)
    inputs = model.as_file_input(samples) if _are_codes(samples) else network.quantize(samples)
    return model.as_output_codes(network.run(inputs))


def random_inputs(model: IntegerModel, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return codes [count, H, W, C] of each synthetic kind.

    `random`: uniform over the full range of the input type. `extreme`: only its two ends, which saturates
    layers.
    """
    limits = np.iinfo(model.precision)
    shape = (count, *model.input_shape)
    random = np.random.default_rng(seed)
    return {
        "random": random.integers(limits.min, limits.max + 1, shape).astype(model.precision),
        "extreme": random.choice([limits.min, limits.max], shape).astype(model.precision),
    }


def comparable_kernels(path: str | Path, precision: str, attacked: str) -> list[str]:
    """Return the kernel sets on which a network is to equal the interpreter.

    The one that attacks ask in any case; on processors where the arithmetic of all was established also the others that
    run the file as their arithmetic says.
    """
    if not on_known_processor():
        return [attacked]
    return [kernel for kernel in KERNELS[precision] if kernel == attacked or _runs(path, kernel)]


def _runs(path: str | Path, kernels: str) -> bool:
    try:
        IntegerModel.from_file(path, kernels)
        TFLiteModel(path, kernels)
    except UserError:
        return False
    return True


Inputs = Mapping[str, np.ndarray] | Callable[[str, IntegerModel], Mapping[str, np.ndarray]]


def exactness_table(
    models: Sequence[tuple[str, str | Path, str]], kernels: Iterable[str] | None, inputs: Inputs
) -> list[dict[str, object]]:
    """Compare each network on each kernel set and kind of input.

    models: (name, path, precision). kernels: the kernel sets to compare, those that the precision lacks are
    skipped; None for all. inputs: a mapping from kind to float32 samples [N, H, W, C] in the network's unit
    or integer codes, or a function of (name, model) that returns one.

    Returns one row for each: network, precision, kernels, inputs, bytes_compared, differing_bytes.
    """
    rows = []
    for name, path, precision in models:
        for kernel in KERNELS[precision]:
            if kernels is not None and kernel not in kernels:
                continue
            model = IntegerModel.from_file(path, kernel)
            if model.precision != precision:
                raise UserError(f"{path}: is a network of {model.precision}, not of {precision}")
            given = inputs(name, model) if callable(inputs) else inputs
            for kind, samples in given.items():
                rows.append(
                    {
                        "network": name,
                        "precision": precision,
                        "kernels": kernel,
                        "inputs": kind,
                        "bytes_compared": len(samples) * model.num_classes * np.dtype(precision).itemsize,
                        "differing_bytes": check_exactness(model, path, samples),
                    }
                )
    return rows


def _are_codes(samples: np.ndarray) -> bool:
    return np.issubdtype(np.asarray(samples).dtype, np.integer)


def _bytes(codes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(codes).view(np.uint8)
