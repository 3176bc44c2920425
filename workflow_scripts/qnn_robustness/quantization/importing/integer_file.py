"""Import of an int8 or int16 .tflite file. Needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import atomic_path, sha256_file, write_json
from qnn_robustness.common.scaling import InputScaling
from qnn_robustness.data.splits import Split
from qnn_robustness.quantization.flatbuffer import (
    RESHAPES,
    Graph,
    ending,
    flat_shape,
    precision_of,
    read_graph,
    with_scaling,
)
from qnn_robustness.quantization.importing.declaration import Declaration, nearest_range
from qnn_robustness.quantization.tflite_model import TFLiteModel
from qnn_robustness.quantization.trial import try_out

SMALLEST_SHARE = 0.1  # of the range of an input's codes that images have to use
_LIMITS = {"INT8": (-128, 127), "INT16": (-32768, 32767), "UINT8": (0, 255)}


def import_file(
    file: str | Path,
    declaration: Declaration,
    test: Split,
    kernels: Sequence[str],
    network_path: str | Path,
    sidecar_path: str | Path,
) -> None:
    """Check a .tflite file and write it, with its input scaling in its metadata, and a sidecar (JSON).

    The network is not changed. The sidecar has the SHA-256 and the size of the file as it was given, the
    ends of the network, and the clean accuracy on some test samples.

    Raises UserError, with one line, for a file that is damaged, no network of this precision or not what was
    declared.
    """
    try:
        graph = read_graph(file)
        found = precision_of(graph)
    except UserError as error:
        raise UserError(f"{declaration.place}: {error}") from error
    if found != declaration.precision:
        raise UserError(f"{declaration.place}: {file} is a network in {found}; name it under `{found}`")
    declaration.check_ends(graph.inputs[0].shape[1:], flat_shape(graph.outputs[0].shape[1:]))
    declaration.check_output(ends_in_softmax(graph))
    _check_span(graph, declaration)
    try_out(file, kernels)
    content = with_scaling(file, declaration.scaling)
    with atomic_path(network_path) as partial:
        partial.write_bytes(content)
    model = TFLiteModel(network_path, kernels[0])
    accuracy = declaration.check_accuracy(_in_own_unit(model), test)
    write_json(
        sidecar_path,
        {
            "precision": declaration.precision,
            "imported_from": Path(file).name,
            "imported_sha256": sha256_file(file),
            "input": {"scale": float(model.input_scale), "zero_point": int(model.input_zero_point)},
            "output": {"scale": float(model.output_scale), "zero_point": int(model.output_zero_point)},
            "clean_accuracy": {"kernels": kernels[0], "accuracy": accuracy},
            "bytes": Path(file).stat().st_size,
            "sha256": sha256_file(network_path),
        },
    )


def _in_own_unit(model: TFLiteModel):
    """Return the network as a function of inputs in its own unit, whatever its file says."""
    model.scaling = InputScaling()
    return model.predict


def ends_in_softmax(graph: Graph) -> bool:
    """Return whether the network's last operator, before its type or shape are converted, is a softmax."""
    last = ending(graph.operators, graph.outputs[0], (*RESHAPES, "QUANTIZE", "DEQUANTIZE")) if graph.outputs else []
    return bool(last) and last[-1].name == "SOFTMAX"


def representable_span(graph: Graph) -> tuple[float, float] | None:
    """Return the real values of the least and the greatest code of the input; None for a float32 input."""
    source = graph.inputs[0]
    takers = [operator for operator in graph.operators if source in operator.inputs]
    if source.type == "FLOAT32" and takers and takers[0].name == "QUANTIZE":
        source = takers[0].outputs[0]
    if source.type not in _LIMITS or len(source.scales) != 1:
        return None
    low, high = (float(source.scale) * (code - source.zero_point) for code in _LIMITS[source.type])
    return low, high


def _check_span(graph: Graph, declaration: Declaration) -> None:
    """Refuse a declared range that the input's codes cannot tell apart, or cannot represent."""
    span = representable_span(graph)
    if span is None:
        return
    low, high = declaration.scaling.span
    inside = min(high, span[1]) - max(low, span[0])
    if inside < SMALLEST_SHARE * (span[1] - span[0]) or inside < 0.5 * (high - low):
        nearest = nearest_range(*span)
        advice = "write input: {{range: [{:g}, {:g}]}} if that is so".format(*nearest) if nearest else "correct input"
        raise UserError(
            f"{declaration.place}: its input takes values from {span[0]:.4g} to {span[1]:.4g}, but images are declared "
            f"to go from {low:g} to {high:g}; {advice}"
        )
