"""Build small .tflite files operator by operator, with any scale, zero point and option."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TYPES = {
    np.dtype(np.bool_): schema.TensorType.BOOL,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
}


class Builder:
    """Collects tensors and operators; `save` writes the file."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = "test"
        empty = schema.BufferT()
        self.model.buffers = [empty]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        dtype: type,
        shape: Sequence[int],
        scale: float | Sequence[float] | None = None,
        zero_point: int = 0,
        axis: int = 0,
    ) -> int:
        """Add an activation and return its index."""
        record = schema.TensorT()
        record.name = f"t{len(self.graph.tensors)}"
        record.type = _TYPES[np.dtype(dtype)]
        record.shape = [int(size) for size in shape]
        if scale is not None:
            record.quantization = schema.QuantizationParametersT()
            record.quantization.scale = np.atleast_1d(np.asarray(scale, np.float32)).tolist()
            record.quantization.zeroPoint = [int(zero_point)] * len(record.quantization.scale)
            record.quantization.quantizedDimension = axis
        self.graph.tensors.append(record)
        return len(self.graph.tensors) - 1

    def constant(
        self, data: np.ndarray, scale: float | Sequence[float] | None = None, axis: int = 0, zero_point: int = 0
    ) -> int:
        """Add a constant and return its index."""
        index = self.tensor(data.dtype, data.shape, scale, zero_point, axis)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        table: str | None = None,
        **options: object,
    ) -> None:
        """Add an operator; `table` names the options table of the schema (`Conv2DOptions`)."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 1
        self.model.operatorCodes.append(code)
        record = schema.OperatorT()
        record.opcodeIndex = len(self.model.operatorCodes) - 1
        record.inputs, record.outputs = list(inputs), list(outputs)
        if table:
            record.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            record.builtinOptions = getattr(schema, f"{table}T")()
            for key, value in options.items():
                if not hasattr(record.builtinOptions, key):
                    raise AttributeError(key)
                setattr(record.builtinOptions, key, value)
        self.graph.operators.append(record)

    def shape_of_batch(self, source: int, sizes: Sequence[int]) -> int:
        """Add what computes the shape of as many samples as `source` has, each of three sizes; return its index."""
        shape, batch, result = (self.tensor(np.int32, size) for size in ([4], [], [4]))
        self.operator("SHAPE", [source], [shape], "ShapeOptions", outType=schema.TensorType.INT32)
        bounds = [self.constant(np.array([number], np.int32)) for number in (0, 1, 1)]
        self.operator("STRIDED_SLICE", [shape, *bounds], [batch], "StridedSliceOptions", shrinkAxisMask=1)
        numbers = [self.constant(np.array(number, np.int32)) for number in sizes]
        self.operator("PACK", [batch, *numbers], [result], "PackOptions", valuesCount=4, axis=0)
        return result

    def save(self, path: str | Path, inputs: Sequence[int], outputs: Sequence[int]) -> str:
        """Write the file and return its path."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        Path(path).write_bytes(bytes(builder.Output()))
        return str(path)


def add_unsupported(builder: Builder, source: int, shape: Sequence[int], scale: float) -> int:
    """Add LOG_SOFTMAX, which the integer model does not have, of int8 codes. Return its output."""
    output = builder.tensor(np.int8, shape, 1 / 16, 127)  # the only scale that the kernel takes
    builder.operator("LOG_SOFTMAX", [source], [output], "LogSoftmaxOptions")
    return output


def add_mixed(builder: Builder, source: int, shape: Sequence[int], scale: float) -> int:
    """Add two QUANTIZE, of int8 codes to int16 and back: the integer model has the operator, and not this.

    Return its output.
    """
    wide, output = (builder.tensor(kind, shape, scale, 0) for kind in (np.int16, np.int8))
    for pair in ((source, wide), (wide, output)):
        builder.operator("QUANTIZE", pair[:1], pair[1:], "QuantizeOptions")
    return output


def add_tiled(builder: Builder, source: int, shape: Sequence[int], scale: float) -> int:
    """Add a TILE of the version that the converter writes, which the reference kernels of the interpreter lack.

    Return its output.
    """
    once, output = builder.constant(np.ones(len(shape), np.int32)), builder.tensor(np.int8, shape, scale, 0)
    builder.operator("TILE", [source, once], [output])
    builder.model.operatorCodes[-1].version = 3
    return output


def save_unsupported(path: Path) -> str:
    """Write an int8 network whose second operator, LOG_SOFTMAX, the integer model does not have; return its path."""
    builder, shape = Builder(), [1, 2, 2, 1]
    first, second = (builder.tensor(np.int8, shape, 0.1, 0) for _ in range(2))
    options = {"filterHeight": 1, "filterWidth": 1, "strideH": 1, "strideW": 1}
    builder.operator("MAX_POOL_2D", [first], [second], "Pool2DOptions", **options)
    return builder.save(path, [first], [add_unsupported(builder, second, shape, 0.1)])
