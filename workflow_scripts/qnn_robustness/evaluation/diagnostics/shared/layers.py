"""The layers of a float32 network beside those of its integer version.

The float32 network is converted by the same converter that made the integer file, but without quantization: both graphs
then have the same operators in the same order, with batch normalization and activations fused alike, so that the n-th
operator of one is the n-th of the other. Operators that exist on one side only (QUANTIZE where scales change, the
arithmetic of shapes, a final softmax, the shape that scores are given) are left out. Kind and shape have to agree at
every place, and so have the names of the tensors where the file has kept them; otherwise the files are not two versions
of one network.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import RESHAPES, Graph, Operator, ending, read_graph
from qnn_robustness.quantization.integer_model.operators import on_shapes

LEFT_OUT = ("QUANTIZE", "DEQUANTIZE", "SOFTMAX")
BATCH = 64


def layers_of(graph: Graph) -> list[Operator]:
    """Return the operators that have a counterpart on the other precision."""
    behind = ending(graph.operators, graph.outputs[0], (*RESHAPES, *LEFT_OUT))[:-1]
    left_out = {operator.position for operator in graph.operators if operator.name in LEFT_OUT or on_shapes(operator)}
    left_out |= {operator.position for operator in behind}
    return [operator for operator in graph.operators if operator.position not in left_out]


def layer_names(graph: Graph) -> dict[str, Operator]:
    """Return the layers by a name for all precisions: place and kind, such as `3 ADD`."""
    return {f"{place} {operator.name}": operator for place, operator in enumerate(layers_of(graph), start=1)}


def matched_layers(float_graph: Graph, integer_graph: Graph) -> dict[str, int]:
    """Return the position in the integer graph of each layer of the float32 graph, by the layer's name.

    Raises UserError when the graphs differ in number, kind, shape or names of their layers.
    """
    ours, theirs = layer_names(float_graph), layers_of(integer_graph)
    if len(ours) != len(theirs):
        raise UserError(
            f"{integer_graph.path}: has {len(theirs)} layers, its float32 network {len(ours)}; "
            "convert it from that network"
        )
    for (name, first), second in zip(ours.items(), theirs, strict=True):
        same_kind = first.name == second.name and first.outputs[0].shape == second.outputs[0].shape
        if not same_kind or not _names_agree(first.outputs[0].name, second.outputs[0].name):
            raise UserError(
                f"{integer_graph.path}: {second} of shape {second.outputs[0].shape} is not layer {name} of shape "
                f"{first.outputs[0].shape} of its float32 network; convert it from that network"
            )
    return {name: operator.position for name, operator in zip(ours, theirs, strict=True)}


def _names_agree(first: str, second: str) -> bool:
    """Whether two tensors may be the same: a name lists the fused operations, and one of these has to be shared."""
    parts = [{part for part in name.split(";") if part} for name in (first, second)]
    return not all(parts) or not parts[0].isdisjoint(parts[1]) or any("StatefulPartitionedCall" in n for n in parts[0])


class FloatLayers:
    """A float32 .tflite file as a function from inputs to the values of each layer.

    Raises UserError when it has not one float32 input.
    """

    def __init__(self, content: bytes):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "float32.tflite")
            path.write_bytes(content)
            self.graph = read_graph(path)
        self._interpreter = Interpreter(
            model_content=content,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        self._input = self._interpreter.get_input_details()[0]
        if self._input["dtype"] != np.float32:
            raise UserError(f"the converted network takes {self._input['dtype']}; expected float32")
        self._batch = 0

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Map inputs float32 [N, H, W, C] to the output float32 [N, ...] of each layer, by name, in order."""
        parts = [self._invoke(inputs[start : start + BATCH]) for start in range(0, len(inputs), BATCH)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _invoke(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        if len(inputs) != self._batch:
            self._interpreter.resize_tensor_input(self._input["index"], inputs.shape)
            self._interpreter.allocate_tensors()
            self._batch = len(inputs)
        self._interpreter.set_tensor(self._input["index"], np.asarray(inputs, np.float32))
        self._interpreter.invoke()
        names = layer_names(self.graph)
        values = {name: self._interpreter.get_tensor(operator.outputs[0].index) for name, operator in names.items()}
        # Within dilated or dense layers a sample may be several.
        return {name: value for name, value in values.items() if len(value) == len(inputs)}
