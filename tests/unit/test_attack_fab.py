"""FAB against exact distances, its projection against linear and quadratic programs, and its promises."""

from __future__ import annotations

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from attack_models import Linear, linear
from attack_oracles import (
    attacked,
    attacked_some,
    check_independence,
    exact_distances,
    least_move,
    rectified,
    rowwise_model,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn_robustness.attacks import fab
from qnn_robustness.attacks.crafting import balls
from qnn_robustness.attacks.crafting.craft import Setting, craft
from qnn_robustness.common.distances import distance

NORMS = ("linf", "l2")
# Of the exact distance. Samples near a boundary leave little of the seven digits of float32 logits; where the box is in
# the way, FAB moves along a straight line that the shortest perturbations do not follow.
TOLERANCE, TOLERANCE_IN_CORNERS = 0.002, 0.01
PARAMETERS = {
    "restarts": 1,
    "largest_bias": 0.1,
    "overshoot": 1.05,
    "backward_step": 0.9,
    "smallest_overshoot": 1 / 510,
}


def attack(norm: str, targets: int, steps: int = 20, **changes):
    return fab.build(norm, **{**PARAMETERS, "steps": steps, "targets": targets, **changes})


def ratios(model, samples, labels, exact: np.ndarray, norm: str, targets: int, **changes) -> np.ndarray:
    """Return the distances found relative to the exact ones, [N]."""
    run = attacked(attack(norm, targets, **changes), model, samples, labels, None, norm=norm)
    assert run.found.all()
    return distance(norm, run.points, samples) / exact


# --- the projection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    scale=st.floats(0.01, 1.5),
    side=st.sampled_from([-1, 1]),
)
def test_steps_to_a_hyperplane_solve_the_program(norm: str, seed: int, scale: float, side: int) -> None:
    generator = np.random.default_rng(seed)
    points = generator.choice([0, 0.1, 0.6, 1.0], size=(3, 8)).astype(np.float32)
    normals = (generator.normal(size=(3, 8)) * generator.integers(0, 2, size=(3, 8))).astype(np.float32)
    normals[:, 0] = 1.0
    most = np.maximum(side * normals, 0) * (1 - points) + np.maximum(-side * normals, 0) * points
    gaps = (side * scale * most.sum(axis=1)).astype(np.float32)
    moves = balls.steps_to_hyperplane(norm, points, normals, gaps)
    assert (points + moves).min() >= -1e-6
    assert (points + moves).max() <= 1 + 1e-6
    for point, normal, gap, move, gain in zip(points, normals, gaps, moves, most.sum(axis=1), strict=True):
        if abs(gap) <= gain * 0.999:
            assert move @ normal == pytest.approx(gap, rel=1e-4, abs=1e-6)
            best = least_move(norm, side * normal.astype(np.float64), abs(float(gap)), point.astype(np.float64))
            assert balls.lengths(norm, move[None])[0] == pytest.approx(best, rel=1e-3, abs=1e-5)
        elif abs(gap) > gain * 1.001:
            assert move @ normal == pytest.approx(side * gain, rel=1e-4, abs=1e-6)


# --- exact distances ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("targets", [0, 9])
@pytest.mark.parametrize("norm", NORMS)
def test_linear_classifiers(norm: str, targets: int) -> None:
    network = linear(seed=1, samples=12, classes=4)
    far = ratios(network.tensorflow_model(), network.samples, network.labels, network.distances(norm), norm, targets)
    # Clearly past the boundary, where another batch rounds otherwise.
    assert far.min() >= 1 + fab.FINAL_MARGIN / 2
    assert far.max() <= 1 + TOLERANCE


def near_corners(seed: int, samples: int = 9) -> Linear:
    network = linear(seed, samples=samples, classes=4)
    generator = np.random.default_rng(seed)
    points = generator.choice([0.0, 0.02, 0.5, 0.97, 1.0], size=network.samples.shape)
    return Linear(points.astype(np.float32), network.weights, network.bias)


@pytest.mark.parametrize("targets", [0, 9])
@pytest.mark.parametrize("norm", NORMS)
def test_linear_classifiers_with_the_box_in_the_way(norm: str, targets: int) -> None:
    network = near_corners(seed=3)
    exact = exact_distances(network, norm)
    far = ratios(network.tensorflow_model(), network.samples, network.labels, exact, norm, targets, steps=60)
    assert far.min() >= 1 - 1e-4
    assert far.max() <= 1 + TOLERANCE_IN_CORNERS


@pytest.mark.parametrize("norm", NORMS)
def test_rectified_networks_within_a_linear_region(norm: str) -> None:
    network = rectified(seed=0)
    far = ratios(network.model(), network.samples, network.labels, network.distances(norm), norm, 9)
    assert far.min() >= 1 - 1e-4
    assert far.max() <= 1 + TOLERANCE


def test_steps_for_the_lattice_do_not_lead_astray_without_one() -> None:
    """Boundaries that bend, a few thousandths away: half a level more is as much as the distance itself."""
    generator = np.random.default_rng(3)
    first = tf.constant(generator.normal(size=(192, 64), scale=1.5), tf.float32)
    second = tf.constant(generator.normal(size=(64, 10)), tf.float32)

    def logits(inputs: tf.Tensor) -> tf.Tensor:
        return tf.tanh((tf.reshape(inputs, (-1, 192)) - 0.5) @ first) @ second

    model = foolbox.TensorFlowModel(logits, bounds=(0, 1))
    samples = generator.uniform(0.2, 0.8, size=(40, 8, 8, 3)).astype(np.float32)
    labels = logits(samples).numpy().argmax(axis=1)
    run, plain = (
        attacked(attack("linf", 9, steps=30, **changes), model, samples, labels, None, norm="linf")
        for changes in ({}, {"smallest_overshoot": 0})
    )
    assert run.found.all()
    far, least = distance("linf", run.points, samples), distance("linf", plain.points, samples)
    assert np.median(least) < 0.01
    assert np.median(far / least) <= 1.002
    assert np.mean(far / least) <= 1.01


def test_untargeted_version_goes_to_the_nearest_boundary_at_once() -> None:
    network = linear(seed=2, samples=10, classes=5)
    far = ratios(network.tensorflow_model(), network.samples, network.labels, network.distances("l2"), "l2", 0, steps=1)
    assert far.max() <= 1 + TOLERANCE


@pytest.mark.parametrize("norm", NORMS)
def test_a_step_by_hand(norm: str) -> None:
    network = linear(seed=4, samples=6, classes=2)
    run = attacked(
        attack(norm, 1, steps=2, smallest_overshoot=0),
        network.tensorflow_model(),
        network.samples,
        network.labels,
        None,
        norm=norm,
    )
    nearest = network.nearest(norm).reshape(network.samples.shape)
    first = network.samples + 1.05 * nearest  # both steps are the same from the clean sample
    np.testing.assert_allclose(run.calls[2], first, atol=1e-5)
    taken_up = network.samples + 0.9 * 1.05 * nearest
    np.testing.assert_allclose(run.calls[3], taken_up, atol=1e-5)
    bias = min(0.055 / 1.055, 0.1)
    step = (1 - 0.9 * 1.05) * nearest  # what is missing to the boundary
    second = (1 - bias) * (taken_up + 1.05 * step) + bias * (network.samples + 1.05 * nearest)
    np.testing.assert_allclose(run.calls[4], second, atol=1e-5)


# --- promises -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=15)
@given(seed=st.integers(0, 1000))
def test_results_are_misclassified_in_the_box_and_never_too_near(norm: str, seed: int) -> None:
    network = near_corners(seed, samples=5)
    run = attacked(
        attack(norm, 2, steps=4), network.tensorflow_model(), network.samples, network.labels, None, norm=norm
    )
    for call in run.calls:
        assert call.min() >= 0
        assert call.max() <= 1
    logits, rows = network.logits(run.points), np.arange(5)
    others = np.where(np.arange(4) == network.labels[:, None], -np.inf, logits).max(axis=1)
    assert (others - logits[rows, network.labels] >= -1e-5)[run.found].all()
    exact = exact_distances(network, norm)
    assert (distance(norm, run.points, network.samples) >= exact * (1 - 1e-4))[run.found].all()
    np.testing.assert_array_equal(run.points[~run.found], network.samples[~run.found])


@pytest.mark.parametrize("norm", NORMS)
def test_lattice(norm: str) -> None:
    network = linear(seed=5, samples=20, margin=0.3)
    images = np.rint(network.samples * 255).astype(np.uint8)
    weights, bias = tf.constant(network.weights), tf.constant(network.bias)

    def logits(inputs: tf.Tensor) -> tf.Tensor:
        rounded = inputs + tf.stop_gradient(tf.round(inputs * 255) / 255 - inputs)
        return tf.reshape(rounded, (-1, 12)) @ weights + bias

    model = foolbox.TensorFlowModel(logits, bounds=(0, 1))
    labels = network.logits(images / np.float32(255)).argmax(axis=1)
    parameters = {**PARAMETERS, "steps": 20, "targets": 9}
    crafted = craft(Setting(fab, norm, [], [0], True, 20, parameters=parameters), model, images, labels)
    assert crafted.found.all()
    points = crafted.adversarial[0, 0]
    assert (network.logits(points / np.float32(255)).argmax(axis=1) != labels).all()
    exact = exact_distances(Linear(images / np.float32(255), network.weights, network.bias), norm)
    far = distance(norm, points, images)
    assert (far >= exact * (1 - 1e-5)).all()
    if norm == "linf":  # rounding adds less than a level
        assert (far < exact + 1 / 255 + 1e-9).all()


def test_early_stop_leaves_samples_alone() -> None:
    network = linear(seed=6, samples=12, classes=3)
    exact = network.distances("linf")
    budget = float(np.median(exact)) * 1.1
    run = attacked(
        attack("linf", 2, steps=10),
        network.tensorflow_model(),
        network.samples,
        network.labels,
        budget,
        norm="linf",
    )
    np.testing.assert_array_equal(run.found, exact < budget)
    final = 1  # Foolbox looks at every result once more
    full = 1 + 2 * 10 * 2 + fab.FINAL_STEPS + final
    assert (run.queries[~run.found] == full).all()
    assert (run.queries[run.found] <= full).all()
    assert (run.queries[run.found] == 4).any()  # clean, gradient, first step
    assert sum(len(call) for call in run.calls) == run.queries.sum()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("targets", [0, 2])
def test_samples_do_not_depend_on_each_other(norm: str, targets: int) -> None:
    network = linear(seed=7, samples=8, classes=4)
    budget = float(np.median(network.distances(norm)))

    def run(chosen: list[int]):
        attempt = attack(norm, targets, steps=5, restarts=2)
        return attacked_some(attempt, rowwise_model(network), network, budget, chosen, norm=norm, seed=0)

    check_independence(run)


@pytest.mark.parametrize("norm", NORMS)
def test_restarts_find_what_a_flat_start_hides(norm: str) -> None:
    """Where the gradient vanishes at the sample, only a random start moves at all."""
    direction = np.random.default_rng(0).normal(size=12).astype(np.float32)

    def logits(inputs: tf.Tensor) -> tf.Tensor:
        away = tf.reshape(inputs, (-1, 12)) - 0.5
        rise = tf.reduce_sum(tf.nn.relu(away * direction - 0.02), axis=1, keepdims=True)
        return tf.concat([tf.ones_like(rise), 10 * rise], axis=1)

    samples = np.full((4, 2, 2, 3), 0.5, np.float32)
    labels = np.zeros(4, np.int64)
    model = foolbox.TensorFlowModel(logits, bounds=(0, 1))
    once = attacked(attack(norm, 1), model, samples, labels, None, norm=norm)
    assert not once.found.any()
    again = attacked(attack(norm, 1, restarts=3), model, samples, labels, None, norm=norm)
    assert again.found.all()
