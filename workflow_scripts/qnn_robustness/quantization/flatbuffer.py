"""Read a .tflite file into small frozen records, without TensorFlow and without trusting the file.

A .tflite file is a FlatBuffer of TensorFlow Lite's `schema.fbs`. Every index, shape and buffer size is
checked here once, so that later code can rely on them; anything inconsistent ends in one UserError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.scaling import InputScaling

_IDENTIFIER = b"TFL3"
_SCALING = "qnn_robustness.input_scaling"  # the name of the project's entry in the file's metadata
_ALIGNMENT = 16  # bytes, of the content of buffers (schema.fbs: force_align)
_OPERATOR_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_TYPE_NAMES = {code: name for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
_NUMPY_TYPES = {
    "FLOAT16": np.float16,
    "FLOAT32": np.float32,
    "UINT8": np.uint8,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}
_CODES = ("INT8", "UINT8", "INT16")  # types whose zero point is one of their own values
RESHAPES = ("RESHAPE", "SQUEEZE")
_ABSENT = -1  # the index of an optional input that an operator does not have


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of the graph.

    `shape` is the one stored in the file (batch 1 as a rule), `type` a name of the schema such as `INT8`.
    Real value = scale * (code - zero_point); `scales` and `zero_points` have one entry, or one for each
    slice along `axis`, or none when the tensor is not quantized. `data` is the constant content, None for
    activations. `open` says that sizes other than the number of samples are only known when the network runs:
    `shape` has 1 in their place.
    """

    index: int
    name: str
    type: str
    shape: tuple[int, ...]
    scales: np.ndarray
    zero_points: np.ndarray
    axis: int
    data: np.ndarray | None
    open: bool = False

    @property
    def scale(self) -> np.float32:
        """The scale of a tensor quantized as a whole."""
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        """The zero point of a tensor quantized as a whole."""
        return int(self.zero_points[0])


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator: `position` in execution order, `name` as in the schema, tensors, options by schema name.

    An optional input that is absent is None.
    """

    position: int
    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, Any]

    def __str__(self) -> str:
        return f"operator {self.position} ({self.name})"


@dataclass(frozen=True, eq=False)
class Graph:
    """The one subgraph of a .tflite file, operators in execution order.

    `scaling` says which unit the network was made for: the identity unless the file carries another one.
    """

    path: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    scaling: InputScaling


def read_graph(path: str | Path) -> Graph:
    """Read a .tflite file.

    Raises UserError when the file is missing, no .tflite file, truncated or inconsistent, or has more than
    one subgraph (control flow).
    """
    try:
        return _graph(str(path), _read_model(path))
    except UserError:
        raise
    except Exception as error:  # each broken offset raises another type somewhere in the generated reader
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: damaged .tflite file ({reason}); copy or convert it again") from error


def _read_model(path: str | Path) -> Any:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if content[4:8] != _IDENTIFIER:
        raise UserError(f"{path}: not a .tflite file (no {_IDENTIFIER.decode()} mark); give a TensorFlow Lite model")
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def with_scaling(path: str | Path, scaling: InputScaling) -> bytes:
    """Return a .tflite file that carries `scaling` in its metadata, which interpreters ignore.

    The network itself is the same. Raises what `read_graph` raises for a bad file.
    """
    read_graph(path)
    model = _read_model(path)
    model.metadata = [entry for entry in model.metadata or [] if _text(entry.name) != _SCALING]
    if not scaling.is_identity:
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(scaling.to_json().encode(), np.uint8)
        model.buffers.append(buffer)
        entry.name, entry.buffer = _SCALING, len(model.buffers) - 1
        model.metadata.append(entry)
    return _packed(model)


def alone(path: str | Path, operators: Sequence[Operator], inputs: Sequence[Tensor], shape: Sequence[int]) -> bytes:
    """Return a .tflite file with operators of another, one feeding the next, up to the first output of the last.

    It takes `inputs`, which may be constants there; these and all activations get one shape.
    """
    model = _read_model(path)
    graph = model.subgraphs[0]
    tensors = {t.index: t for t in inputs} | {t.index: t for o in operators for t in (*o.inputs, o.outputs[0]) if t}
    constant = tensors.keys() - {tensor.index for tensor in inputs}
    buffers, numbers = [schema.BufferT()], {index: number for number, index in enumerate(tensors)}
    for index, tensor in tensors.items():
        record = graph.tensors[index]
        if tensor.data is None or index not in constant:
            record.shape, record.shapeSignature, record.buffer = list(shape), None, 0
        else:
            buffers.append(model.buffers[record.buffer])
            record.buffer = len(buffers) - 1
    records = [graph.operators[operator.position] for operator in operators]
    model.operatorCodes = [model.operatorCodes[record.opcodeIndex] for record in records]
    for code, (record, operator) in enumerate(zip(records, operators, strict=True)):
        record.opcodeIndex = code
        record.inputs = [numbers[tensor.index] for tensor in operator.inputs if tensor]
        record.outputs = [numbers[operator.outputs[0].index]]
    graph.tensors, graph.operators = [graph.tensors[index] for index in tensors], records
    graph.inputs, graph.outputs = [numbers[tensor.index] for tensor in inputs], records[-1].outputs
    model.buffers, model.metadata, model.metadataBuffer, model.signatureDefs = buffers, None, None, None
    return _packed(model)


def _packed(model: Any) -> bytes:
    builder = _Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):
    """Aligns vectors of bytes as the content of buffers has to be."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        return super().StartVector(elemSize, numElems, _ALIGNMENT if elemSize == 1 else alignment)


def precision_of(graph: Graph) -> str:
    """Return `int8`, `int16` or `float32`: the type in which the network computes, whatever the type of its ends.

    UINT8, in which earlier converters quantized, counts as `int8`: the same steps, shifted by 128.

    Raises UserError when the network has more than one input or output, or computes in another type.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise UserError(
            f"{graph.path}: has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; expected one image input "
            "and one output"
        )
    source = graph.inputs[0]
    takers = [operator for operator in graph.operators if source in operator.inputs]
    if source.type in ("FLOAT32", "UINT8") and len(takers) == 1 and takers[0].name == "QUANTIZE":
        source = takers[0].outputs[0]
    if source.type == "FLOAT32" and any(_is_hybrid(operator) for operator in graph.operators):
        raise UserError(
            f"{graph.path}: has integer weights but computes in float32; quantize its activations as well, or give the "
            "float network that it was made from"
        )
    if source is not graph.inputs[0]:
        users = {operator.name for operator in graph.operators if source in operator.inputs}
        if users == {"DEQUANTIZE"}:
            raise UserError(
                f"{graph.path}: rounds its input (fake quantization) but computes in float32; convert it with "
                "optimizations = [tf.lite.Optimize.DEFAULT]"
            )
    if source.type not in ("INT8", "UINT8", "INT16", "FLOAT32"):
        raise UserError(f"{graph.path}: computes in {source.type}; expected INT8, UINT8, INT16 or FLOAT32")
    return "int8" if source.type == "UINT8" else source.type.lower()


def flat_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of one sample's outputs without places where there is but one: [K] also for [1, 1, K]."""
    return tuple(shape[-1:]) if set(shape[:-1]) <= {1} else tuple(shape)


def ending(operators: Sequence[Operator], output: Tensor, passed: Sequence[str] = RESHAPES) -> list[Operator]:
    """Return the operators that end in `output`, the last first: those `passed` that keep its classes, and one more.

    So the last of the list is what makes the scores, whatever shape or type they are then given.
    """
    makers = {tensor.index: operator for operator in operators for tensor in operator.outputs}
    found: list[Operator] = []
    maker = makers.get(output.index)
    while maker and not (found and maker.position >= found[-1].position):
        found.append(maker)
        source = maker.inputs[0]
        if maker.name not in passed or not source or flat_shape(source.shape[1:]) != flat_shape(output.shape[1:]):
            break
        maker = makers.get(source.index)
    return found


def _is_hybrid(operator: Operator) -> bool:
    """Return whether an operator takes integer weights to float32, quantizing its input by each sample's own range."""
    types = {tensor.type for tensor in operator.inputs if tensor is not None}
    return operator.name != "DEQUANTIZE" and operator.outputs[0].type == "FLOAT32" and bool(types & {"INT8", "INT4"})


def _scaling(path: str, model: Any) -> InputScaling:
    for entry in model.metadata or []:
        if _text(entry.name) == _SCALING:
            if not 0 <= entry.buffer < len(model.buffers) or model.buffers[entry.buffer].data is None:
                raise UserError(f"{path}: its input scaling is missing; import the model again")
            return InputScaling.from_json(np.asarray(model.buffers[entry.buffer].data, np.uint8).tobytes())
    return InputScaling()


def _graph(path: str, model: Any) -> Graph:
    if len(model.subgraphs) != 1:
        raise UserError(f"{path}: has {len(model.subgraphs)} subgraphs; only models without control flow (1) work")
    subgraph = model.subgraphs[0]
    tensors = tuple(_tensor(path, i, tensor, model.buffers) for i, tensor in enumerate(subgraph.tensors))

    def pick(indices: Any, what: str) -> tuple[Tensor | None, ...]:
        indices = [] if indices is None else [int(index) for index in indices]
        if any(not _ABSENT <= index < len(tensors) for index in indices):
            raise UserError(f"{path}: {what} names a tensor that does not exist; convert the model again")
        return tuple(None if index == _ABSENT else tensors[index] for index in indices)

    operators = []
    for position, operator in enumerate(subgraph.operators):
        if not 0 <= operator.opcodeIndex < len(model.operatorCodes):
            raise UserError(f"{path}: operator {position} has no operator code; convert the model again")
        name = _operator_name(model.operatorCodes[operator.opcodeIndex])
        what = f"operator {position} ({name})"
        sources, outputs = pick(operator.inputs, what), pick(operator.outputs, what)
        if not sources or not outputs or None in outputs:
            raise UserError(f"{path}: {what} lacks an input or output; convert the model again")
        options = {} if operator.builtinOptions is None else dict(vars(operator.builtinOptions))
        operators.append(Operator(position, name, sources, outputs, options))
    inputs, outputs = pick(subgraph.inputs, "the input list"), pick(subgraph.outputs, "the output list")
    if None in inputs + outputs:
        raise UserError(f"{path}: the input or output list has a hole; convert the model again")
    _check_fixed(path, [subgraph.tensors[tensor.index] for tensor in inputs])
    written = {tensor.index for tensor in inputs}
    for operator in operators:
        for tensor in operator.outputs:
            if tensor.index in written or tensor.data is not None:
                raise UserError(f"{path}: {operator} writes over tensor {tensor.index}; convert the model again")
            written.add(tensor.index)
    return Graph(path, tensors, tuple(operators), inputs, outputs, _scaling(path, model))


def _check_fixed(path: str, tensors: Sequence[Any]) -> None:
    """Refuse inputs of any size: `shape` has 1 where the signature has -1, and only the batch may vary."""
    for tensor in tensors:
        if min(_signature(tensor)[1:], default=0) < 0:
            sizes = f"{path}: takes inputs of any size {_signature(tensor)}"
            raise UserError(f"{sizes}; convert it with a fixed height and width")


def _operator_name(code: Any) -> str:
    # Old files keep the code in the deprecated 8-bit field, new ones in both or in the wide one.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = _OPERATOR_NAMES.get(number, f"code {number}")
    return f"CUSTOM {_text(code.customCode)}" if name == "CUSTOM" else name


def _tensor(path: str, index: int, tensor: Any, buffers: Any) -> Tensor:
    what = f"{path}: tensor {index}"
    type_name = _TYPE_NAMES.get(tensor.type, f"type {tensor.type}")
    shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
    if any(size < 0 for size in shape):
        raise UserError(f"{what} has a negative size in its shape {shape}; convert the model again")
    if not 0 <= tensor.buffer < len(buffers):
        raise UserError(f"{what} names a buffer that does not exist; convert the model again")
    data = _data(what, buffers[tensor.buffer].data, type_name, shape)
    scales, zero_points, axis = _quantization(what, tensor.quantization, shape, constant=data is not None)
    if type_name in _CODES:
        limits = np.iinfo(_NUMPY_TYPES[type_name])
        if ((zero_points < limits.min) | (zero_points > limits.max)).any():
            raise UserError(f"{what} has a zero point that is no {type_name}; convert the model again")
    is_open = min(_signature(tensor)[1:], default=0) < 0
    return Tensor(index, _text(tensor.name), type_name, shape, scales, zero_points, axis, data, is_open)


def _signature(tensor: Any) -> list[int]:
    """Return the shape with -1 for each size that is open; nothing where the file does not have it."""
    return [] if tensor.shapeSignature is None else [int(size) for size in tensor.shapeSignature]


def _quantization(what: str, record: Any, shape: tuple[int, ...], constant: bool) -> tuple[np.ndarray, np.ndarray, int]:
    scales = np.zeros(0, np.float32)
    if record is not None and record.scale is not None:
        scales = np.array(record.scale, np.float32)
    zero_points = np.zeros(len(scales), np.int64)
    if len(scales) and record.zeroPoint is not None and len(record.zeroPoint):
        zero_points = np.array(record.zeroPoint, np.int64)
    axis = int(record.quantizedDimension) if len(scales) > 1 else 0
    # A channel of weights that are all zero may have the scale 0; kernels differ in what is nearly 0.
    if not (np.isfinite(scales).all() and (scales >= (0 if constant else np.finfo(np.float32).tiny)).all()):
        raise UserError(f"{what} has a scale that is not positive and finite; convert the model again")
    if len(zero_points) != len(scales):
        raise UserError(f"{what} has {len(scales)} scales but {len(zero_points)} zero points")
    if len(scales) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scales)):
        raise UserError(f"{what} has {len(scales)} scales, which do not fit its shape {shape}")
    return scales, zero_points, axis


def _data(what: str, content: Any, type_name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    if content is None or len(content) == 0 or type_name not in _NUMPY_TYPES:
        return None
    dtype = np.dtype(_NUMPY_TYPES[type_name]).newbyteorder("<")
    content = np.asarray(content, np.uint8).tobytes()
    expected = math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise UserError(f"{what} holds {len(content)} bytes instead of {expected}; copy or convert the model again")
    return np.frombuffer(content, dtype).reshape(shape)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
