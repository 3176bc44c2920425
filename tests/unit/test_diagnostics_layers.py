"""Quantization shift on layers whose response is known, the matching of layers, and loss surfaces."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import brightness_network
import eagerpy as ep
import foolbox
import numpy as np
import pytest
import tensorflow as tf
from converted_networks import convert, randomize, residual

from qnn_robustness.attacks.crafting.array_model import ArrayModel
from qnn_robustness.common.errors import UserError
from qnn_robustness.evaluation.diagnostics import loss_surfaces, quantization_shift
from qnn_robustness.evaluation.diagnostics.shared.layers import FloatLayers, layers_of, matched_layers
from qnn_robustness.evaluation.diagnostics.shared.loading import _arrays, _integer_activations, float_graph
from qnn_robustness.evaluation.diagnostics.shared.subject import LEVEL, Network, Subject
from qnn_robustness.evaluation.diagnostics.tables import quantization_shift as shift_table
from qnn_robustness.evaluation.diagnostics.tables import quantization_shift_shares
from qnn_robustness.quantization.flatbuffer import read_graph
from qnn_robustness.quantization.integer_model.model import IntegerModel, as_foolbox

RANDOM = np.random.default_rng(0)
SHAPE, SIZE, SAMPLES = (2, 3, 1), 6, 7
FIRST = RANDOM.normal(size=(SIZE, 4)).astype(np.float32)
SECOND = RANDOM.normal(size=(4, 3)).astype(np.float32)
SIZES = [0.25 * LEVEL, LEVEL, 2 * LEVEL]


def linear(step: float | None = None, factor: float = 1.0) -> Network:
    """Return a network of two linear layers; with a `step` it rounds its input."""

    def activations(inputs: np.ndarray) -> dict[str, np.ndarray]:
        seen = Network(None, step).rounded(inputs).reshape(len(inputs), SIZE)
        return {"1 A": factor * seen @ FIRST, "2 B": factor * seen @ FIRST @ SECOND}

    model = foolbox.TensorFlowModel(lambda x: factor * tf.reshape(x, (-1, SIZE)) @ FIRST @ SECOND, bounds=(0, 1))
    return Network(ArrayModel(model, ep.astensor(tf.zeros(1))), step, activations)


def subject(**networks: Network) -> Subject:
    samples = RANDOM.integers(20, 230, (SAMPLES, *SHAPE)).astype(np.float32) / 255
    return Subject(networks, samples, np.arange(SAMPLES) % 3, np.arange(SAMPLES))


@pytest.fixture(scope="module")
def measured():
    """int16 has another scale of weights and rounds nothing; int8 rounds its input and nothing else."""
    looked_at = subject(float32=linear(), int16=linear(1e-7, 1.5), int8=linear(LEVEL))
    rows = quantization_shift.measure(looked_at, seed=0, perturbation_sizes=SIZES)
    return looked_at, rows.assign(model="m", training="t")


def test_the_response_of_linear_layers_is_the_product_with_their_weights(measured) -> None:
    looked_at, rows = measured
    signs = looked_at.random_signs(0).reshape(SAMPLES, SIZE)
    chosen = rows[(rows["direction"] == "random") & np.isclose(rows["size"], SIZES[2]) & (rows["precision"] == "int16")]
    inputs = looked_at.samples.reshape(SAMPLES, SIZE)
    for place, weights in ((0, np.eye(SIZE)), (1, FIRST), (2, FIRST @ SECOND)):
        layer = chosen[chosen["place"] == place]
        np.testing.assert_allclose(layer["signal_float32"], np.linalg.norm(inputs @ weights, axis=1), rtol=1e-4)
        noise = np.linalg.norm(SIZES[2] * signs @ weights, axis=1)
        np.testing.assert_allclose(layer["noise_float32"], noise, rtol=1e-3)
        np.testing.assert_allclose(layer["noise"], noise * (1.5 if place else 1), rtol=1e-3)


def test_twice_the_perturbation_costs_six_decibels_in_a_linear_network(measured) -> None:
    table = shift_table.table(measured[1])
    ratios = table[table["network"] == "float32"].pivot_table(
        index=["direction", "place"], columns="size", values="snr_median"
    )
    np.testing.assert_allclose(ratios[SIZES[1]] - ratios[SIZES[2]], 20 * np.log10(2), atol=0.01)
    assert (table["samples"] == SAMPLES).all()
    assert set(table["network"]) == {"float32", "int16", "int8", "int16 input", "int8 input"}


def test_a_quarter_of_a_level_is_gone_once_the_input_is_rounded(measured) -> None:
    table = shift_table.table(measured[1])
    small = table[np.isclose(table["size"], SIZES[0])].set_index(["network", "place"])
    for place in range(3):
        for name, vanished in (("float32", 0), ("int16", 0), ("int8", 1), ("int8 input", 1)):
            assert (small.loc[(name, place), "vanished"] == vanished).all()
    assert np.isposinf(small.loc[("int8", 2), "snr_median"]).all()


def test_the_deviation_is_shared_between_rounding_and_network(measured) -> None:
    table = quantization_shift_shares.table(measured[1]).set_index(["precision", "direction", "size"])
    for direction in ("gradient", "random"):
        other_weights = table.loc[("int16", direction, SIZES[1])]
        assert other_weights["rounding_share"] == pytest.approx(0, abs=1e-6)
        gains = other_weights[["gain", "gain_rounding", "gain_network"]].to_numpy(float)
        np.testing.assert_allclose(gains, [20 * np.log10(1.5), 0, 20 * np.log10(1.5)], atol=0.01)
        gone = table.loc[("int8", direction, SIZES[0])]
        assert gone["rounding_share"] == pytest.approx(1)
        assert gone["gain"] == gone["gain_rounding"] == -np.inf


def test_surfaces_of_linear_networks_are_planes() -> None:
    looked_at = subject(float32=linear(), int8=linear(factor=2)).first(2)
    rows = loss_surfaces.measure(looked_at, seed=0, surface_points=5, surface_radius=4 * LEVEL)
    assert len(rows) == 2 * 2 * 25
    for (precision, sample), surface in rows.groupby(["precision", "sample"]):
        grid = surface.pivot_table(index="along_random", columns="along_gradient", values="margin").to_numpy()
        centre = looked_at.networks[precision].logits(looked_at.samples[sample : sample + 1])[0]
        label = looked_at.labels[sample]
        assert grid[2, 2] == pytest.approx(np.delete(centre, label).max() - centre[label], abs=1e-5)
        if precision == "float32":  # along its own gradient the margin rises by the L1 norm of the gradient
            rival = np.where(np.arange(3) == label, -np.inf, centre).argmax()
            weights = FIRST @ SECOND
            slope = np.abs(weights[:, rival] - weights[:, label]).sum()
            assert grid[2, 3] - grid[2, 2] >= slope * 2 * LEVEL - 1e-4  # another rival can only raise it more


# --- layers of real files -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = Path(tmp_path_factory.mktemp("layers"))
    network = randomize(residual())
    network.save(folder / "float32.keras")
    layers = FloatLayers(float_graph(folder / "float32.keras"))
    return network, layers, convert(network, folder / "int16.tflite", "int16")


def test_the_converted_float32_network_computes_what_the_keras_network_does(converted) -> None:
    network, layers, _ = converted
    inputs = RANDOM.uniform(size=(3, *network.input_shape[1:])).astype(np.float32)
    last = list(layers(inputs).values())[-1]
    expected = np.log(np.maximum(network(inputs, training=False).numpy(), 1e-30))  # the network ends in a softmax
    np.testing.assert_allclose(
        last - last.mean(1, keepdims=True), expected - expected.mean(1, keepdims=True), atol=1e-2
    )


def test_matched_layers_have_nearly_the_same_values_on_int16(converted) -> None:
    network, layers, path = converted
    model = IntegerModel.from_file(path)
    inputs = RANDOM.uniform(size=(4, *network.input_shape[1:])).astype(np.float32)
    ours = layers(inputs)
    theirs = _integer_activations(model, inputs, matched_layers(layers.graph, read_graph(path)))
    assert list(ours) == list(theirs)
    assert len(ours) > 9
    for name, values in ours.items():
        other = theirs[name]
        assert other.shape == values.shape
        assert np.linalg.norm(other - values) < 0.05 * np.linalg.norm(values), name
    shapes = {name: values.shape for name, values in ours.items()}
    pairs = [(a, b) for a in ours for b in ours if a < b and shapes[a] == shapes[b]]
    assert pairs, "layers that only their order tells apart"
    assert all(np.linalg.norm(theirs[a] - ours[b]) > 0.1 * np.linalg.norm(ours[b]) for a, b in pairs)
    logits = as_foolbox(model)
    assert _arrays(logits).logits(inputs).shape == (4, 10)


def test_layers_are_those_before_the_scores_are_given_their_shape(tmp_path) -> None:
    path = brightness_network.save(tmp_path / "reshaped.tflite", reshaped=True)
    graph, model = read_graph(path), IntegerModel.from_file(path)
    there = {layer.operator.position for layer in model.layers}
    places = matched_layers(graph, graph)
    assert set(places.values()) <= there
    assert [*places] == ["1 RESHAPE", "2 FULLY_CONNECTED"]


def test_files_that_are_not_two_versions_of_one_network_are_refused(converted) -> None:
    _, layers, path = converted
    graph = read_graph(path)
    shorter = dataclasses.replace(graph, operators=graph.operators[:3])
    with pytest.raises(UserError, match="has 3 layers"):
        matched_layers(layers.graph, shorter)
    kept = layers_of(graph)
    swapped = dataclasses.replace(graph, operators=(kept[-1], *kept[1:-1], kept[0]))
    with pytest.raises(UserError, match="is not layer 1"):
        matched_layers(layers.graph, swapped)
    renamed = dataclasses.replace(kept[1].outputs[0], name="elsewhere/Relu")
    other = dataclasses.replace(kept[1], outputs=(renamed,))
    with pytest.raises(UserError, match="is not layer 2"):
        matched_layers(layers.graph, dataclasses.replace(graph, operators=(kept[0], other, *kept[2:])))
