"""Reading untrusted .tflite files."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tflite_builder import Builder

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import read_graph


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    builder = Builder()
    source = builder.tensor(np.int8, [1, 4, 4, 2], 0.5, -7)
    weights = builder.constant(np.arange(54).reshape(3, 3, 3, 2).astype(np.int8), [0.1, 0.2, 0.3])
    bias = builder.constant(np.array([1, -2, 2**30], np.int32), [0.05, 0.1, 0.15])
    output = builder.tensor(np.int8, [1, 2, 2, 3], 0.25, 5)
    options = {"padding": 0, "strideH": 2, "strideW": 2, "fusedActivationFunction": 3}
    options |= {"dilationHFactor": 1, "dilationWFactor": 1}
    builder.operator("CONV_2D", [source, weights, bias], [output], "Conv2DOptions", **options)
    return builder.save(tmp_path_factory.mktemp("flatbuffer") / "conv.tflite", [source], [output])


def test_everything_written_is_read(path):
    graph = read_graph(path)
    (operator,) = graph.operators
    assert str(operator) == "operator 0 (CONV_2D)"
    assert (operator.options["strideH"], operator.options["fusedActivationFunction"]) == (2, 3)
    source, weights, bias = operator.inputs
    assert graph.inputs == (source,)
    assert graph.outputs == operator.outputs
    assert (source.type, source.shape, source.scale, source.zero_point) == ("INT8", (1, 4, 4, 2), 0.5, -7)
    assert source.data is None
    np.testing.assert_array_equal(weights.data, np.arange(54).reshape(3, 3, 3, 2))
    np.testing.assert_array_equal(weights.scales, np.array([0.1, 0.2, 0.3], np.float32))
    np.testing.assert_array_equal(bias.data, [1, -2, 2**30])


def _refusal(path) -> str | None:
    """The message of the UserError for a file, None for a readable one; any other error is raised."""
    try:
        read_graph(path)
    except UserError as error:
        return str(error)
    return None


def test_every_truncation_ends_in_one_line(path, tmp_path):
    with open(path, "rb") as stream:
        content = stream.read()
    short = tmp_path / "short.tflite"
    readable = 0
    for length in range(0, len(content), 7):
        short.write_bytes(content[:length])
        message = _refusal(short)
        readable += message is None
        assert message is None or str(short) in message
    # Only padding at the very end may be missing without harm.
    assert readable <= 1


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=30))
def test_damage_ends_in_one_line_or_a_consistent_graph(path, tmp_path_factory, damage):
    with open(path, "rb") as stream:
        content = bytearray(stream.read())
    for position, value in damage:
        content[position % len(content)] = value
    damaged = tmp_path_factory.getbasetemp() / "damaged.tflite"
    damaged.write_bytes(content)
    if _refusal(damaged) is not None:
        return
    graph = read_graph(damaged)
    for tensor in graph.tensors:
        assert tensor.data is None or tensor.data.shape == tensor.shape
        assert len(tensor.scales) == len(tensor.zero_points)
        assert (tensor.scales > 0).all()


def _altered(path, target, change) -> str:
    """Write a copy of a .tflite file after `change` of its model, and return its path."""
    with open(path, "rb") as stream:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(stream.read(), 0))
    change(model.subgraphs[0])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    target.write_bytes(bytes(builder.Output()))
    return str(target)


def _zero_point(graph) -> None:
    graph.tensors[0].quantization.zeroPoint = [-129]


def _no_outputs(graph) -> None:
    graph.operators[0].outputs = []


def _no_inputs(graph) -> None:
    graph.operators[0].inputs = []


def _onto_the_input(graph) -> None:
    graph.operators[0].outputs = [0]


def _onto_a_constant(graph) -> None:
    graph.operators[0].outputs = [1]


def _twice(graph) -> None:
    graph.operators.append(graph.operators[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_zero_point, "tensor 0 has a zero point that is no INT8"),
        (_no_outputs, r"operator 0 \(CONV_2D\) lacks an input or output"),
        (_no_inputs, r"operator 0 \(CONV_2D\) lacks an input or output"),
        (_onto_the_input, r"operator 0 \(CONV_2D\) writes over tensor 0"),
        (_onto_a_constant, r"operator 0 \(CONV_2D\) writes over tensor 1"),
        (_twice, r"operator 1 \(CONV_2D\) writes over tensor 3"),
    ],
)
def test_what_no_converter_writes_is_named(path, tmp_path, change, message):
    with pytest.raises(UserError, match=rf"altered\.tflite: {message}; convert the model again"):
        read_graph(_altered(path, tmp_path / "altered.tflite", change))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" * 10, b"\0\0\0\0TFL3"])
def test_other_files_are_refused(content, tmp_path):
    other = tmp_path / "other.tflite"
    other.write_bytes(content)
    with pytest.raises(UserError, match=r"other\.tflite"):
        read_graph(other)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.tflite: cannot be read"):
        read_graph(tmp_path / "none.tflite")
