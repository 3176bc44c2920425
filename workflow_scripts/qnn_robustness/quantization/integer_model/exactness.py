"""Comparison of the integer model with the TFLite interpreter: evidence, and guard of crafting jobs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.integer_model.model import KERNELS, IntegerModel, on_known_processor

_RESOLVERS = {
    "reference": OpResolverType.BUILTIN_REF,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "xnnpack": OpResolverType.AUTO,
}
_BATCH = 250


def check_exactness(model: IntegerModel, path: str | Path, samples_quantized: np.ndarray, threads: int = 1) -> int:
    """Return the number of output bytes in which model and TFLite interpreter differ: 0 when all is well.

    samples_quantized: codes [N, H, W, C] of the network's input type. The interpreter runs `path` on the
    model's kernel set with this many threads. Callers treat any other result than 0 as a failure;
    `mismatch_message` words it.

    Raises UserError when the interpreter cannot run the file.
    """
    expected = interpreter_outputs(model, path, samples_quantized, threads)
    computed = model.forward_quantized(samples_quantized)
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


def interpreter_outputs(
    model: IntegerModel, path: str | Path, samples_quantized: np.ndarray, threads: int = 1
) -> np.ndarray:
    """Return the output codes [N, classes] of the TFLite interpreter on the model's kernel set.

    Samples go through in batches, or one by one where the file fixes the batch size.
    """
    samples = np.asarray(samples_quantized)
    run = InterpreterRunner(model, path, threads)
    return np.concatenate([run(samples[start : start + _BATCH]) for start in range(0, len(samples), _BATCH)])


class InterpreterRunner:
    """The TFLite interpreter of a file on the model's kernel set, as a function from codes to codes.

    Raises UserError when the interpreter cannot run the file.
    """

    def __init__(self, model: IntegerModel, path: str | Path, threads: int = 1):
        self.model, self.path, self.threads = model, str(path), threads
        self.batches = True
        self._restart()

    def _restart(self) -> None:
        self.batch = None
        try:
            self.interpreter = Interpreter(
                self.path,
                num_threads=self.threads,
                experimental_op_resolver_type=_RESOLVERS[self.model.kernels],
            )
        except ValueError as error:
            raise UserError(f"{self.path}: the TFLite interpreter cannot read it ({error})") from error

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Map codes [N, H, W, C] to output codes [N, classes]; one by one if the file fixes the batch."""
        if self.batches:
            try:
                return self._invoke(codes)
            except (RuntimeError, ValueError):
                self.batches = False
                self._restart()
        try:
            return np.concatenate([self._invoke(codes[i : i + 1]) for i in range(len(codes))])
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{self.path}: the TFLite interpreter cannot run it ({error})") from error

    def _invoke(self, codes: np.ndarray) -> np.ndarray:
        source, target = self.interpreter.get_input_details()[0], self.interpreter.get_output_details()[0]
        if len(codes) != self.batch:
            if len(codes) != source["shape"][0]:
                self.interpreter.resize_tensor_input(source["index"], codes.shape)
            self.interpreter.allocate_tensors()
            self.batch = len(codes)
        self.interpreter.set_tensor(source["index"], self.model.as_file_input(codes))
        self.interpreter.invoke()
        return self.model.as_output_codes(self.interpreter.get_tensor(target["index"]))


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
                codes = samples if np.issubdtype(np.asarray(samples).dtype, np.integer) else model.quantize(samples)
                rows.append(
                    {
                        "network": name,
                        "precision": precision,
                        "kernels": kernel,
                        "inputs": kind,
                        "bytes_compared": len(codes) * model.num_classes * np.dtype(precision).itemsize,
                        "differing_bytes": check_exactness(model, path, codes),
                    }
                )
    return rows


def _bytes(codes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(codes).view(np.uint8)
