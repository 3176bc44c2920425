"""Shares and alignment of gradients on networks whose derivatives are known exactly."""

from __future__ import annotations

from collections.abc import Callable

import eagerpy as ep
import foolbox
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from qnn_robustness.attacks.crafting.array_model import ArrayModel
from qnn_robustness.evaluation.diagnostics import gradient_alignment, gradients
from qnn_robustness.evaluation.diagnostics.gradient_alignment import DIFFERENCES, NEIGHBOUR, agreement
from qnn_robustness.evaluation.diagnostics.shared.differences import differences, probed
from qnn_robustness.evaluation.diagnostics.shared.losses import LOSSES
from qnn_robustness.evaluation.diagnostics.shared.subject import LEVEL, Network, Subject
from qnn_robustness.evaluation.diagnostics.tables import gradient_alignment as alignment_table
from qnn_robustness.evaluation.diagnostics.tables import gradient_magnitudes, gradient_shares

RANDOM = np.random.default_rng(0)
SHAPE, SIZE, CLASSES, SAMPLES = (4, 3, 1), 12, 3, 5
WEIGHTS = RANDOM.normal(size=(SIZE, CLASSES)).astype(np.float32)
TABLE = RANDOM.normal(size=(256, CLASSES)).astype(np.float32)


def network(logits: Callable[[tf.Tensor], tf.Tensor], step: float | None = None) -> Network:
    """Return a network of logits, which are given inputs as [N, SIZE]."""
    model = foolbox.TensorFlowModel(lambda x: logits(tf.reshape(x, (-1, SIZE))), bounds=(0, 1))
    return Network(ArrayModel(model, ep.astensor(tf.zeros(1))), step)


def linear(weights: np.ndarray, step: float | None = None) -> Network:
    return network(lambda x: x @ weights, step)


def subject(**networks: Network) -> Subject:
    samples = RANDOM.integers(20, 230, (SAMPLES, *SHAPE)).astype(np.float32) / 255
    return Subject(networks, samples, np.arange(SAMPLES) % CLASSES, np.arange(SAMPLES) * 7)


def looked_up(x: tf.Tensor) -> tf.Tensor:
    """A network without gradient: the sum over input values of the rows of a table, by 8-bit level."""
    return tf.reduce_sum(tf.gather(TABLE, tf.cast(tf.round(x * 255), tf.int32)), axis=1)


def test_differences_by_one_level_are_those_of_an_exact_table() -> None:
    looked_at = subject()
    looked_at.samples[0, 0, 0, 0], looked_at.samples[1, 0, 0, 0] = 0, 1  # nothing lies beyond: one-sided there
    positions = np.tile(np.arange(SIZE), (SAMPLES, 1))
    found = differences(network(looked_up), looked_at, positions, LEVEL)["margin"]
    levels = np.rint(looked_at.samples.reshape(SAMPLES, SIZE) * 255).astype(int)
    for i, j in np.ndindex(SAMPLES, SIZE):
        high, low = min(levels[i, j] + 1, 255), max(levels[i, j] - 1, 0)
        logits = TABLE[levels[i]].astype(np.float64).sum(axis=0)
        margins = []
        for level in (high, low):
            moved = logits - TABLE[levels[i, j]] + TABLE[level]
            margins.append(np.delete(moved, looked_at.labels[i]).max() - moved[looked_at.labels[i]])
        assert found[i, j] == pytest.approx((margins[0] - margins[1]) / ((high - low) / 255), rel=1e-3, abs=1e-3)


def test_a_step_that_a_network_does_not_feel_gives_exact_zeros() -> None:
    """Inputs are rounded to 8 bits: a step of a hundredth of a level changes nothing."""
    looked_at = subject()
    positions = probed(looked_at, 0, 6)
    assert (differences(network(looked_up), looked_at, positions, LEVEL / 100)["margin"] == 0).all()
    assert (differences(network(looked_up), looked_at, positions, LEVEL)["margin"] != 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_a_linear_network(name: str) -> None:
    looked_at = subject()
    found = linear(WEIGHTS).gradients(looked_at.samples, looked_at.labels, LOSSES[name]).reshape(SAMPLES, SIZE)
    logits = looked_at.samples.reshape(SAMPLES, SIZE).astype(np.float64) @ WEIGHTS
    hot = np.eye(CLASSES)[looked_at.labels]
    if name == "cross_entropy":
        slopes = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) - hot
    else:
        slopes = np.eye(CLASSES)[np.where(hot, -np.inf, logits).argmax(axis=1)] - hot
    np.testing.assert_allclose(found, slopes @ WEIGHTS.T, rtol=1e-4, atol=1e-5)
    numeric = differences(linear(WEIGHTS), looked_at, np.tile(np.arange(SIZE), (SAMPLES, 1)), LEVEL)[name]
    np.testing.assert_allclose(numeric, found, rtol=0.02, atol=0.02)


def test_shares_of_zero_tiny_and_huge_gradients() -> None:
    """A third of the inputs is dead, a third barely felt, a third felt much too well."""
    factors = np.repeat([0, 1e-9, 1e6], SIZE // 3).astype(np.float32)[:, None]
    weights = np.sign(WEIGHTS) * np.array([1, 2, 3], np.float32) * factors
    looked_at = subject(float32=linear(weights), int8=network(lambda x: tf.nn.relu(x - 2) @ WEIGHTS, LEVEL))
    rows = gradients.measure(looked_at, seed=0, probed_values=4).assign(model="m", training="t")
    shares = gradient_shares.table(rows).set_index(["precision", "estimator", "loss"])
    felt = shares.loc["float32", "autodiff", "margin"]
    assert felt[["zero", "tiny", "huge"]].to_numpy(float) == pytest.approx([1 / 3] * 3)
    assert felt[["zero_low", "zero_high"]].to_numpy(float) == pytest.approx([1 / 3] * 2)
    assert felt["dead_samples"] == 0
    for estimator, values in (("straight_through", SIZE), ("one_level", 4)):
        dead = shares.loc["int8", estimator, "margin"]
        assert (dead["zero"], dead["tiny"], dead["huge"], dead["dead_samples"], dead["values"]) == (1, 0, 0, 1, values)
    magnitudes = gradient_magnitudes.table(rows)
    sums = magnitudes.groupby(["precision", "estimator", "loss"])["share"].sum()
    np.testing.assert_allclose(sums, 1)
    assert (magnitudes["samples"] == SAMPLES).all()


def test_a_network_of_finer_codes_is_also_measured_by_one_code() -> None:
    looked_at = subject(int16=linear(WEIGHTS, 1 / 32767), int8=linear(WEIGHTS, 0.003921569))
    rows = gradients.measure(looked_at, seed=0, probed_values=2)
    assert set(rows.loc[rows["precision"] == "int16", "estimator"]) == {"straight_through", "one_level", "one_code"}
    assert set(rows.loc[rows["precision"] == "int8", "estimator"]) == {"straight_through", "one_level"}


def test_agreement_in_closed_form() -> None:
    first = np.array([[1.0, 1, 0, 0], [1e-40, 0, 0, 0], [0, 0, 0, 0]])
    second = np.array([[1.0, -1, 5, 0], [-3, 0, 0, 0], [1, 2, 3, 4]])
    rows = agreement(first, second)
    np.testing.assert_allclose(rows["cosine"], [0, -1, np.nan], atol=1e-12)
    np.testing.assert_allclose(rows["sign_agreement"], [0.5, 0, np.nan])
    np.testing.assert_allclose(rows["compared"], [0.5, 0.25, 0])


def test_linear_networks_are_aligned_as_their_weights_are() -> None:
    """Two classes: the gradient is the difference of the weights, whatever the sample and the scale."""
    turned = WEIGHTS[:, :2] @ np.array([[0, 1], [1, 0]], np.float32)
    looked_at = subject(float32=linear(WEIGHTS[:, :2]), int16=linear(3 * WEIGHTS[:, :2]), int8=linear(turned))
    looked_at = Subject(looked_at.networks, looked_at.samples, looked_at.labels % 2, looked_at.places)
    rows = gradient_alignment.measure(looked_at, seed=0, probed_values=SIZE)
    for pair, cosine in {
        ("float32", "int16"): 1,
        ("float32", "int8"): -1,
        ("float32", NEIGHBOUR): 1,
        ("int8", DIFFERENCES): 1,
    }.items():
        chosen = rows[(rows[["first", "second"]] == list(pair)).all(axis=1) & (rows["loss"] == "margin")]
        assert len(chosen) == SAMPLES
        np.testing.assert_allclose(chosen["cosine"], cosine, atol=1e-3)
        np.testing.assert_allclose(chosen["sign_agreement"], max(cosine, 0), atol=1e-6)
    summed = alignment_table.table(rows.assign(model="m", training="t"))
    assert set(summed["samples"]) == {SAMPLES}
    assert len(summed) == 2 * (3 + 1 + 3)


def test_draws_belong_to_seed_and_place() -> None:
    looked_at = subject()
    few = Subject({}, looked_at.samples[2:4], looked_at.labels[2:4], looked_at.places[2:4])
    np.testing.assert_array_equal(probed(few, 3, 5), probed(looked_at, 3, 5)[2:4])
    np.testing.assert_array_equal(few.random_signs(1), looked_at.random_signs(1)[2:4])
    assert (few.random_signs(1) != few.random_signs(2)).any()
    assert all(len(set(row)) == SIZE for row in probed(looked_at, 0, 1000))


def test_inputs_are_rounded_as_the_integer_network_rounds_them() -> None:
    inputs = np.array([0, 0.4, 0.6, 254.7, 255], np.float32) / 255
    assert Network(None).rounded(inputs) is inputs
    np.testing.assert_allclose(Network(None, LEVEL).rounded(inputs) * 255, [0, 0, 1, 255, 255], atol=1e-4)


def test_tables_are_the_same_for_rows_in_another_order() -> None:
    rows = gradients.measure(subject(float32=linear(WEIGHTS)), seed=0, probed_values=3).assign(model="m", training="t")
    first, second = (
        gradient_magnitudes.table(part).sort_values([*gradient_magnitudes.KEYS, "decade"], ignore_index=True)
        for part in (rows, rows.sample(frac=1, random_state=0))
    )
    pd.testing.assert_frame_equal(first, second)
