"""APGD against exact distances, a plain transcription of its algorithm, and its promises."""

from __future__ import annotations

from math import ceil

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
    rectified,
    rowwise_model,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax

from qnn_robustness.attacks import apgd
from qnn_robustness.attacks.crafting import losses
from qnn_robustness.attacks.crafting.craft import Setting, craft
from qnn_robustness.common.distances import distance
from qnn_robustness.common.errors import UserError

NORMS = ("linf", "l2")
TOLERANCE = 0.01  # of the smallest perturbation: budgets this much above it must suffice, and below it never


def attack(norm: str, loss: str = "ce", steps: int = 100, restarts: int = 1, targets: int = 9):
    return apgd.build(norm, loss=loss, steps=steps, restarts=restarts, targets=targets)


# --- losses -----------------------------------------------------------------------------------------------

logits_and_labels = st.integers(4, 8).flatmap(
    lambda classes: st.tuples(
        hnp.arrays(np.float32, (5, classes), elements=st.floats(-20, 20, width=32)),
        hnp.arrays(np.int64, 5, elements=st.integers(0, classes - 1)),
        st.integers(1, classes - 1),
    )
)


def by_definition(loss: str, row: np.ndarray, label: int, target: int) -> float:
    first, _, third, fourth = np.sort(row)[::-1][:4]
    rival = np.delete(row, label).max()
    if loss == "ce":
        return -log_softmax(row)[label]
    if loss == "margin":
        return rival - row[label]
    if loss == "dlr":
        return -(row[label] - rival) / (first - third)
    return -(row[label] - row[target]) / (first - (third + fourth) / 2)


@pytest.mark.parametrize("loss", losses.LOSSES)
@given(case=logits_and_labels)
def test_losses_and_their_slopes(loss: str, case: tuple) -> None:
    logits, labels, shift = case
    targets = (labels + shift) % logits.shape[1]
    exact = logits.astype(np.float64)
    values, slopes = losses.LOSSES[loss](logits, labels, targets)
    assert np.isfinite(values).all()
    assert np.isfinite(slopes).all()
    assert (np.abs(slopes).max(axis=1) <= 1).all()
    step = 1e-5
    for row, label, target, value, slope in zip(exact, labels, targets, values, slopes, strict=True):
        if np.diff(np.sort(row)).min() < 1e-2:
            continue  # not differentiable at ties
        assert value == pytest.approx(by_definition(loss, row, label, target), rel=1e-6, abs=1e-9)
        numeric = np.array(
            [
                by_definition(loss, row + step * unit, label, target)
                - by_definition(loss, row - step * unit, label, target)
                for unit in np.eye(len(row))
            ]
        )
        if np.abs(numeric).max() > 2 * step * 1e-3:  # otherwise rounding drowns the difference
            np.testing.assert_allclose(slope, numeric / np.abs(numeric).max(), atol=1e-4)


def test_ties_of_integer_networks_keep_ratios_finite_and_pointing_away_from_the_label() -> None:
    logits = np.array([[3, 3, 3, 3], [3, 3, 3, 0], [3, 3, 0, 0], [127, -128, -128, -128]], np.float32)
    labels, targets = np.zeros(4, np.int64), np.array([1, 3, 1, 2])
    for loss in ("dlr", "dlr_targeted"):
        values, slopes = losses.LOSSES[loss](logits, labels, targets)
        assert np.isfinite(values).all()
        assert np.isfinite(slopes).all()
        assert (values <= 0).all()
        np.testing.assert_array_equal(slopes[0], [-1, 1, 0, 0])


def test_the_direction_of_the_cross_entropy_survives_confidence() -> None:
    values, slopes = losses.cross_entropy(np.array([[900, 0, -900]], np.float32), np.array([0]), np.array([1]))
    np.testing.assert_allclose(slopes, [[-1, 1, 0]])
    assert values[0] == 0


# --- exact distances ---------------------------------------------------------------------------------------


def check_threshold(model, samples, labels, exact: np.ndarray, norm: str, loss: str) -> None:
    """The attack succeeds for budgets above the exact distance and for none below it."""
    for budget in np.quantile(exact, [0.4, 1], method="nearest"):
        above = attacked(attack(norm, loss, 40), model, samples, labels, budget * (1 + TOLERANCE), norm=norm)
        assert above.found[exact <= budget].all()
        assert not above.found[exact > budget * (1 + TOLERANCE) * (1 + 1e-5)].any()
        below = attacked(attack(norm, loss, 25), model, samples, labels, budget * (1 - 1e-4), norm=norm)
        assert not below.found[exact >= budget].any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", losses.LOSSES)
def test_linear_classifiers(norm: str, loss: str) -> None:
    """With more than two classes the cross-entropy need not be largest where the margin is crossed."""
    network = linear(seed=1, samples=12, classes=2 if loss == "ce" else 5)
    exact = network.distances(norm)
    check_threshold(network.tensorflow_model(), network.samples, network.labels, exact, norm, loss)


def with_box(seed: int, classes: int = 4) -> Linear:
    """Return a linear classifier with samples near the corners of the box, so that it is in the way."""
    network = linear(seed, samples=9, classes=classes)
    generator = np.random.default_rng(seed)
    samples = generator.choice([0.0, 0.02, 0.5, 0.97, 1.0], size=network.samples.shape)
    return Linear(samples.astype(np.float32), network.weights, network.bias)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["margin", "dlr_targeted"])
def test_linear_classifiers_with_the_box_in_the_way(norm: str, loss: str) -> None:
    network = with_box(seed=3)
    exact = exact_distances(network, norm)
    assert np.isfinite(exact).all()
    check_threshold(network.tensorflow_model(), network.samples, network.labels, exact, norm, loss)


@pytest.mark.parametrize("norm", NORMS)
def test_rectified_networks_within_a_linear_region(norm: str) -> None:
    network = rectified(seed=0)
    check_threshold(network.model(), network.samples, network.labels, network.distances(norm), norm, "dlr_targeted")


# --- the algorithm -----------------------------------------------------------------------------------------

SIZE = 12


class Wavy:
    """A network whose loss oscillates, with its derivative by hand, in float64; two classes."""

    def __init__(self, seed: int):
        generator = np.random.default_rng(seed)
        self.first = generator.normal(size=(SIZE, 6)) * 3
        self.second = generator.normal(size=6)

    def difference(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """Return z_1 - z_0 and its gradient."""
        hidden = values @ self.first
        return np.sin(hidden) @ self.second - 8, self.first @ (np.cos(hidden) * self.second)

    def model(self) -> foolbox.TensorFlowModel:
        first, second = tf.constant(self.first), tf.constant(self.second[:, None])

        def logits(inputs: tf.Tensor) -> tf.Tensor:
            exact = tf.cast(tf.reshape(inputs, (-1, SIZE)), tf.float64)
            difference = tf.cast(tf.sin(exact @ first) @ second - 8, tf.float32)
            return tf.concat([tf.zeros_like(difference), difference], axis=1)

        return foolbox.TensorFlowModel(logits, bounds=(0, 1))


def transcription(network: Wavy, clean: np.ndarray, start: np.ndarray, norm: str, radius: float, steps: int):
    """Return the points that algorithm 1 visits for one sample, and its step size after each step."""

    def into_ball(point: np.ndarray) -> np.ndarray:
        move = point - clean
        if norm == "linf":
            move = np.clip(move, -radius, radius)
        elif np.linalg.norm(move) > radius:
            move = move * radius / np.linalg.norm(move)
        return np.clip(clean + move, 0, 1)

    def unit(gradient: np.ndarray) -> np.ndarray:
        return np.sign(gradient) if norm == "linf" else gradient / np.linalg.norm(gradient)

    shares = [0, 0.22]
    while shares[-1] <= 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    marks = {ceil(share * steps - 1e-9) for share in shares if 0 < share <= 1}
    size, sizes, visited = 2 * radius, [], [start]
    before, point = start, start
    value = network.difference(start)[0]
    best, best_value, checked_value, halved, rises, last = start, value, value, False, 0, 0
    for k in range(1, steps + 1):
        ahead = into_ball(point + size * unit(network.difference(point)[1]))
        if k > 1:
            ahead = into_ball(point + 0.75 * (ahead - point) + 0.25 * (point - before))
        before, point = point, ahead
        visited.append(point)
        former, value = value, network.difference(point)[0]
        rises += value > former
        if value > best_value:
            best, best_value = point, value
        if k in marks:
            stuck = not halved and best_value == checked_value
            halved = rises < 0.75 * (k - last) or stuck
            if halved:
                size, point, value = size / 2, best, best_value
            checked_value, rises, last = best_value, 0, k
        sizes.append(size)
    return np.array(visited), np.array(sizes), best


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(3))
def test_points_visited_are_those_of_the_algorithm(norm: str, seed: int) -> None:
    network, radius, steps = Wavy(seed), {"linf": 0.2, "l2": 0.5}[norm], 25
    generator = np.random.default_rng(seed)
    samples = generator.uniform(0, 1, size=(4, 2, 2, 3)).astype(np.float32)
    run = attacked(attack(norm, "margin", steps), network.model(), samples, np.zeros(4, np.int64), radius, norm=norm)
    assert not run.found.any()
    visited = np.stack(run.calls[1 : steps + 2]).reshape(steps + 1, 4, SIZE).astype(np.float64)
    np.testing.assert_array_equal(run.calls[0], samples)
    halvings = 0
    for position, sample in enumerate(samples):
        expected, sizes, best = transcription(
            network, sample.ravel().astype(np.float64), visited[0, position], norm, radius, steps
        )
        np.testing.assert_allclose(visited[:, position], expected, atol=2e-4)
        np.testing.assert_allclose(run.points[position].ravel(), best, atol=2e-4)
        halvings += sizes[-1] < sizes[0]
    assert halvings > 0, "the test would not see a wrong rule for the step size"


def test_checkpoints_of_the_paper() -> None:
    assert apgd.checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert apgd.checkpoints(1) == [1]


@pytest.mark.parametrize("norm", NORMS)
def test_starts_lie_on_the_sphere_and_differ(norm: str) -> None:
    network = linear(seed=2, samples=5)
    run = attacked(attack(norm, steps=1), network.tensorflow_model(), network.samples, network.labels, 1e-3, norm=norm)
    moves = run.calls[1] - network.samples
    np.testing.assert_allclose(distance(norm, run.calls[1], network.samples), 1e-3, rtol=1e-3)
    assert len(np.unique(np.sign(moves).reshape(5, -1), axis=0)) > 1


@pytest.mark.parametrize("norm", NORMS)
def test_plateaus_are_crossed(norm: str) -> None:
    """Scores of integer networks that saturate stay the same while their straight-through gradients point on."""
    slopes = tf.constant(np.random.default_rng(0).normal(size=(SIZE, 2)).astype(np.float32))

    def logits(inputs: tf.Tensor) -> tf.Tensor:
        linear = tf.reshape(inputs, (-1, SIZE)) @ slopes
        return tf.constant([[1.0, 0.0]]) + linear - tf.stop_gradient(linear)

    samples, radius = np.full((3, 2, 2, 3), 0.5, np.float32), 0.1
    model = foolbox.TensorFlowModel(logits, bounds=(0, 1))
    run = attacked(attack(norm, steps=25), model, samples, np.zeros(3, np.int64), radius, norm=norm)
    ahead = slopes.numpy()[:, 1] - slopes.numpy()[:, 0]
    ahead = np.sign(ahead) if norm == "linf" else ahead / np.linalg.norm(ahead)
    np.testing.assert_allclose((run.points - samples).reshape(3, SIZE) / radius, np.tile(ahead, (3, 1)), atol=0.02)


# --- promises -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=25)
@given(seed=st.integers(0, 1000), share=st.floats(0.01, 1.5))
def test_every_point_is_within_the_budget_and_the_box(norm: str, seed: int, share: float) -> None:
    network = with_box(seed)
    budget = share * {"linf": 0.2, "l2": 0.6}[norm]
    run = attacked(
        attack(norm, steps=5), network.tensorflow_model(), network.samples, network.labels, budget, norm=norm
    )
    assert distance(norm, run.points, network.samples).max() <= budget + 1e-6
    assert run.points.min() >= 0
    assert run.points.max() <= 1
    for call in run.calls:
        assert call.min() >= 0
        assert call.max() <= 1
    assert (network.logits(run.points).argmax(axis=1) != network.labels)[run.found].all()


@pytest.mark.parametrize(("norm", "budget"), [("linf", 6 / 255), ("linf", 6.6 / 255), ("l2", 0.08)])
def test_lattice(norm: str, budget: float) -> None:
    network = linear(seed=5, samples=40, margin=0.3)
    images = np.rint(network.samples * 255).astype(np.uint8)
    weights, bias = tf.constant(network.weights), tf.constant(network.bias)

    def logits(inputs: tf.Tensor) -> tf.Tensor:
        rounded = inputs + tf.stop_gradient(tf.round(inputs * 255) / 255 - inputs)
        return tf.reshape(rounded, (-1, SIZE)) @ weights + bias

    model = foolbox.TensorFlowModel(logits, bounds=(0, 1))
    labels = network.logits(images / np.float32(255)).argmax(axis=1)
    parameters = {"loss": "margin", "steps": 30, "restarts": 1, "targets": 9}
    crafted = craft(Setting(apgd, norm, [budget], [0], True, 16, parameters=parameters), model, images, labels)
    found, points = crafted.found[0, 0], crafted.adversarial[0, 0]
    assert 0 < found.sum() < len(found)
    assert (distance(norm, points, images) <= budget + 1e-9).all()
    assert ((network.logits(points / np.float32(255)).argmax(axis=1) != labels) == found).all()
    if norm == "linf":  # the optimum of the lattice is the corner of the whole levels
        corner = Linear(images / np.float32(255), network.weights, network.bias)
        np.testing.assert_array_equal(found, exact_distances(corner, norm) < int(budget * 255 + 1e-9) / 255)


def test_queries() -> None:
    network = linear(seed=6, samples=12)
    exact, steps = network.distances("linf"), 10
    labels = network.labels.copy()
    labels[0] = (labels[0] + 1) % 3
    run = attacked(
        attack("linf", steps=steps, restarts=2),
        network.tensorflow_model(),
        network.samples,
        labels,
        float(np.median(exact)),
        norm="linf",
    )
    final = 1  # Foolbox looks at every result once more
    assert run.queries[0] == 1 + final
    np.testing.assert_array_equal(run.points[0], network.samples[0])
    failed = ~run.found
    assert failed.any()
    assert (run.queries[failed] == 1 + 2 * (1 + steps) + final).all()
    assert (run.queries[run.found] < 1 + 2 * (1 + steps) + final).all()
    sizes = [len(call) for call in run.calls]
    assert sum(sizes) == run.queries.sum()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["ce", "dlr_targeted"])
def test_samples_do_not_depend_on_each_other(norm: str, loss: str) -> None:
    network = linear(seed=7, samples=8, classes=5)
    model, budget = rowwise_model(network), float(np.median(network.distances(norm)))

    def run(chosen: list[int], seed: int = 0):
        attempt = attack(norm, loss, steps=12, restarts=2)
        return attacked_some(attempt, model, network, budget, chosen, norm=norm, seed=seed)

    together = check_independence(run)
    assert 0 < together.found.sum() < 8
    assert (run(list(range(8)), seed=1).calls[1] != together.calls[1]).all(axis=(1, 2, 3)).all()


@pytest.mark.parametrize(("loss", "classes"), [("dlr", 2), ("dlr_targeted", 3)])
def test_losses_that_need_more_classes_are_refused(loss: str, classes: int) -> None:
    network = linear(seed=8, classes=classes)
    with pytest.raises(UserError, match=f"needs at least {classes + 1} classes"):
        attacked(
            attack("linf", loss),
            network.tensorflow_model(),
            network.samples,
            network.labels,
            0.1,
            norm="linf",
        )
    with pytest.raises(UserError):
        apgd.check_classes(classes, loss=loss, steps=1, restarts=1, targets=9)
    apgd.check_classes(classes + 1, loss=loss, steps=1, restarts=1, targets=9)
