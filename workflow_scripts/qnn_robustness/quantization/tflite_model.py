"""A .tflite file run in batches by the TFLite interpreter, on an explicit kernel set. Needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qnn_robustness.common.errors import UserError, did_you_mean

RESOLVERS = {
    "reference": OpResolverType.BUILTIN_REF,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "xnnpack": OpResolverType.AUTO,
}
BATCH = 128


class TFLiteModel:
    """The function of a quantized (int8 or int16) .tflite file with one image input and one output.

    `kernels` names the arithmetic: `reference` (that of microcontrollers), `builtin` (optimised, no
    delegate), `xnnpack`. Inputs and outputs are those of the file; `predict` (de)quantizes them.

    Raises UserError when the file is missing or is no usable model, or for an unknown kernel set.
    """

    def __init__(self, path: str | Path, kernels: str, threads: int = 1):
        if kernels not in RESOLVERS:
            raise UserError(f"{path}: unknown kernels '{kernels}'; {did_you_mean(kernels, RESOLVERS)}")
        self.path, self.kernels = Path(path), kernels
        if not self.path.exists():
            raise UserError(f"{path}: no such file")
        try:
            self._interpreter = Interpreter(
                str(path), num_threads=threads, experimental_op_resolver_type=RESOLVERS[kernels]
            )
            (self._input,) = self._interpreter.get_input_details()
            (self._output,) = self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{path}: not a usable TFLite model with one input and one output ({error})") from None
        self.dtype = np.dtype(self._input["dtype"])
        if self.dtype not in (np.int8, np.int16):
            raise UserError(f"{path}: its input is {self.dtype}; expected int8 or int16")
        if self.dtype == np.int16 and kernels == "xnnpack":
            raise UserError(f"{path}: XNNPACK has no int16 kernels; use reference or builtin")
        self.input_shape = tuple(int(size) for size in self._input["shape"][1:])
        self.input_scale, self.input_zero_point = self._input["quantization"]
        self.output_scale, self.output_zero_point = self._output["quantization"]
        self._batch = 0

    def quantize(self, samples: np.ndarray) -> np.ndarray:
        """Return inputs in [0, 1] (float32 [N, H, W, C]) as the integers the file takes; halves go to even."""
        limits = np.iinfo(self.dtype)
        codes = np.rint(samples / np.float32(self.input_scale)) + self.input_zero_point
        return np.clip(codes, limits.min, limits.max).astype(self.dtype)

    def run(self, codes: np.ndarray) -> np.ndarray:
        """Return the integer outputs [N, K] for integer inputs [N, H, W, C]."""
        outputs = [self._invoke(codes[start : start + BATCH]) for start in range(0, len(codes), BATCH)]
        return np.concatenate(outputs) if outputs else np.empty((0, int(self._output["shape"][-1])), self.dtype)

    def predict(self, samples: np.ndarray) -> np.ndarray:
        """Return the dequantized outputs (float32 [N, K]) for inputs in [0, 1] (float32 [N, H, W, C])."""
        outputs = self.run(self.quantize(samples)).astype(np.float32)
        return (outputs - np.float32(self.output_zero_point)) * np.float32(self.output_scale)

    def _invoke(self, codes: np.ndarray) -> np.ndarray:
        if len(codes) != self._batch:
            self._interpreter.resize_tensor_input(self._input["index"], (len(codes), *self.input_shape))
            self._interpreter.allocate_tensors()
            self._batch = len(codes)
        self._interpreter.set_tensor(self._input["index"], codes)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output["index"])


def load_predictor(path: str | Path, kernels: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from samples (float32 [N, H, W, C] in [0, 1]) to dequantized outputs on a kernel set."""
    return TFLiteModel(path, kernels).predict
