"""A .tflite file run in batches by the TFLite interpreter, on an explicit kernel set. Needs no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qnn_robustness.common.errors import UserError, did_you_mean
from qnn_robustness.quantization.flatbuffer import Graph, Tensor, flat_shape, precision_of, read_graph

RESOLVERS = {
    "reference": OpResolverType.BUILTIN_REF,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "xnnpack": OpResolverType.AUTO,
}
BATCH = 128
# Codes that the vectorised QUANTIZE of the built-in kernels takes at a time, from float32 and between int8 scales.
VECTOR_FLOAT32, VECTOR_INT8 = 8, 16


class TFLiteModel:
    """The function of a .tflite file with one image input and one output, as a rule a quantized one (int8 or int16).

    `kernels` names the arithmetic: `reference` (that of microcontrollers), `builtin` (optimised, no
    delegate), `xnnpack`. Inputs and outputs are those of the file, whose ends may also be float32 or uint8;
    `predict` takes inputs in [0, 1], brings them into the file's unit (`scaling`) and (de)quantizes.

    Raises UserError when the file is missing or is no usable model, or for an unknown kernel set. The file is
    checked before the interpreter, which trusts it, sees it; files from outside pass `trial` before.
    """

    def __init__(self, path: str | Path, kernels: str, threads: int = 1):
        if kernels not in RESOLVERS:
            raise UserError(f"{path}: unknown kernels '{kernels}'; {did_you_mean(kernels, RESOLVERS)}")
        self.path, self.kernels = Path(path), kernels
        if not self.path.exists():
            raise UserError(f"{path}: no such file")
        graph = read_graph(path)
        self.precision, self.scaling = precision_of(graph), graph.scaling
        if self.precision == "int16" and kernels == "xnnpack":
            raise UserError(f"{path}: XNNPACK has no int16 kernels; use reference or builtin")
        self._threads, self._own_batch = threads, max([1, *(size for end in graph.inputs for size in end.shape[:1])])
        self._at_once = 1 if _rounds_by_batch(graph, kernels) else None
        try:
            self._restart()
            (self._input,) = self._interpreter.get_input_details()
            (self._output,) = self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{path}: cannot be used with the {kernels} kernels ({error})") from None
        self.dtype = np.dtype(self._input["dtype"])
        self.input_shape = tuple(int(size) for size in self._input["shape"][1:])
        self.input_scale, self.input_zero_point = self._input["quantization"]
        self.output_scale, self.output_zero_point = self._output["quantization"]

    @property
    def gives_scores(self) -> bool:
        """Whether outputs stand for numbers: they are float32, or codes with a scale."""
        return self._output["dtype"] == np.float32 or self.output_scale > 0

    def quantize(self, samples: np.ndarray) -> np.ndarray:
        """Return inputs in [0, 1] (float32 [N, H, W, C]) as the file takes them; halves go to even."""
        samples = self.scaling.apply(samples)
        if self.dtype == np.float32:
            return samples
        limits = np.iinfo(self.dtype)
        codes = np.rint(samples / np.float32(self.input_scale)) + self.input_zero_point
        return np.clip(codes, limits.min, limits.max).astype(self.dtype)

    def run(self, codes: np.ndarray) -> np.ndarray:
        """Return the file's outputs [N, K], also if it gives [N, 1, 1, K], for its inputs [N, H, W, C].

        Raises UserError when the interpreter does not take them, or cannot run the file.
        """
        try:
            outputs = [self._answer(codes[start : start + BATCH]) for start in range(0, len(codes), BATCH)]
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{self.path}: cannot be run ({error})") from error
        if not outputs:
            return np.empty((0, int(self._output["shape"][-1])), self.dtype)
        together = np.concatenate(outputs)
        return together.reshape(-1, *flat_shape(together.shape[1:]))

    def predict(self, samples: np.ndarray) -> np.ndarray:
        """Return the dequantized outputs (float32 [N, K]) for inputs in [0, 1] (float32 [N, H, W, C])."""
        outputs = self.run(self.quantize(samples)).astype(np.float32)
        if self._output["dtype"] == np.float32:
            return outputs
        return (outputs - np.float32(self.output_zero_point)) * np.float32(self.output_scale)

    def _restart(self) -> None:
        self._batch = 0
        self._interpreter = Interpreter(
            str(self.path), num_threads=self._threads, experimental_op_resolver_type=RESOLVERS[self.kernels]
        )

    def _answer(self, codes: np.ndarray) -> np.ndarray:
        """Run the samples together, or as many at a time as the file fixes, or one by one if it rounds by batch."""
        if self._at_once is None:
            try:
                return self._invoke(codes)
            except (RuntimeError, ValueError):
                self._at_once = self._own_batch
                self._restart()
        parts = [codes[start : start + self._at_once] for start in range(0, len(codes), self._at_once)]
        filled = [np.resize(part, (self._at_once, *part.shape[1:])) for part in parts]
        return np.concatenate([self._invoke(full)[: len(part)] for full, part in zip(filled, parts, strict=True)])

    def _invoke(self, codes: np.ndarray) -> np.ndarray:
        if len(codes) != self._batch:
            self._interpreter.resize_tensor_input(self._input["index"], (len(codes), *self.input_shape))
            self._interpreter.allocate_tensors()
            self._batch = len(codes)
        self._interpreter.set_tensor(self._input["index"], codes)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output["index"])


def requantized_by_xnnpack(source: Tensor, output: Tensor) -> bool:
    """Whether XNNPACK takes a QUANTIZE of int8 codes; it leaves scales that are far apart to the built-in kernel."""
    if len(source.scales) != 1 or len(output.scales) != 1:
        return True  # no file that is run
    return 2.0**-8 <= np.float32(source.scale / output.scale) <= 2.0**7


def _rounds_by_batch(graph: Graph, kernels: str) -> bool:
    """Whether a built-in QUANTIZE rounds some codes differently when they are not the last ones of a batch."""
    if kernels == "reference":
        return False
    widths = {"FLOAT32": VECTOR_FLOAT32, "INT8": VECTOR_INT8}
    pairs = [(o.inputs[0], o.outputs[0]) for o in graph.operators if o.name == "QUANTIZE" and o.inputs and o.outputs]
    return any(
        source is not None
        and source.type in widths
        and math.prod(output.shape[1:]) % widths[source.type] > 0
        and (kernels == "builtin" or (source.type == "INT8" and not requantized_by_xnnpack(source, output)))
        for source, output in pairs
    )


def load_predictor(path: str | Path, kernels: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from samples (float32 [N, H, W, C] in [0, 1]) to dequantized outputs on a kernel set."""
    return TFLiteModel(path, kernels).predict
