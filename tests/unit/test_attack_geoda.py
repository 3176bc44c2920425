"""GeoDA on linear classifiers: exact distances, its DCT subspace, its query plan, independence of samples."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from attack_models import Linear, linear, perturbed
from attack_oracles import crafted_in_batches
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dctn, idctn

from qnn_robustness.attacks import geoda
from qnn_robustness.attacks.crafting.queries import QueryCounter
from qnn_robustness.attacks.crafting.streams import SampleStreams
from qnn_robustness.common.distances import distance

SHAPE = (4, 4, 1)
SETTINGS = dict(query_ratio=0.6, sigma=0.02, tolerance=1e-4, initial_draws=30)


def crafted(problem: Linear, norm: str, indices: list[int] | None = None, counter=None, **changes) -> np.ndarray:
    indices = list(range(len(problem.samples))) if indices is None else indices
    attack = geoda.build(norm, **{**SETTINGS, "queries": 1500, "subspace": 4, **changes})
    with SampleStreams(3, indices, problem.samples.shape[1:]).serving_eagerpy():
        model = counter or problem.numpy_model()
        return perturbed(attack, model, problem.samples[indices], problem.labels[indices])


@pytest.fixture(scope="module")
def two_classes() -> Linear:
    return linear(0, samples=5, shape=SHAPE, classes=2, margin=0.08)


def difference(problem: Linear) -> np.ndarray:
    """Return the gradient [N, H, W, C] of the other logit minus the label's."""
    weights = problem.weights.T.astype(np.float64)
    return (weights[1 - problem.labels] - weights[problem.labels]).reshape(problem.samples.shape)


@pytest.mark.parametrize(("norm", "tolerance"), [("l2", 1.05), ("linf", 1.05), ("l1", 1.001)])
def test_the_full_subspace_reaches_the_exact_distance(two_classes: Linear, norm: str, tolerance: float) -> None:
    """At a flat boundary the error is that of the estimated normal: about 1 + pi D / (4 queries) for L2.

    The L1 perturbation needs the largest weight alone; wrong signs of small weights cost Linf a little.
    """
    problem = two_classes
    found = crafted(problem, norm, queries=3000)
    reached = distance(norm, found, problem.samples)
    exact = problem.distances(norm)
    assert (problem.logits(found).argmax(axis=1) != problem.labels).all()
    assert (reached >= exact * (1 - 1e-5)).all()
    assert (reached <= exact * tolerance + 2 * SETTINGS["tolerance"]).all()


def test_more_queries_come_nearer(two_classes: Linear) -> None:
    excess = []
    for queries in (100, 400, 3000):
        found = crafted(two_classes, "l2", queries=queries)
        excess.append(np.median(distance("l2", found, two_classes.samples) / two_classes.distances("l2")))
    assert excess[0] > excess[1] > excess[2] >= 1


def test_a_small_subspace_reaches_its_own_distance(two_classes: Linear) -> None:
    """The L2 ray is the projection of the true normal onto the low frequencies; nothing leaves these."""
    problem = two_classes
    normal = difference(problem)
    low = dctn(normal, axes=(1, 2), norm="ortho")
    low[:, 2:], low[:, :, 2:] = 0, 0
    projected = idctn(low, axes=(1, 2), norm="ortho")
    ray = projected / np.sqrt((projected**2).sum(axis=(1, 2, 3), keepdims=True))
    logits = problem.logits(problem.samples).astype(np.float64)
    exact = np.abs(logits[:, 0] - logits[:, 1]) / (normal * ray).sum(axis=(1, 2, 3))
    ends = problem.samples + ray * exact[:, None, None, None]
    assert ((ends > 0) & (ends < 1)).all()
    found = crafted(problem, "l2", subspace=2, queries=3000)
    np.testing.assert_allclose(distance("l2", found, problem.samples), exact, rtol=0.02)
    spectrum = dctn((found - problem.samples).astype(np.float64), axes=(1, 2), norm="ortho")
    outside = np.sqrt((spectrum**2).sum(axis=(1, 2, 3)) - (spectrum[:, :2, :2] ** 2).sum(axis=(1, 2, 3)))
    assert outside.max() < 1e-5


def test_l1_fills_the_largest_values_up_to_the_box() -> None:
    """The margin is 3 a + 2 b + c + d / 2 - 4.9 = -.45: raising a by .1 to its end gives .3, b the rest."""
    weights = np.array([[3, 0], [2, 0], [1, 0], [0.5, 0]], np.float32)
    samples = np.array([0.9, 0.5, 0.5, 0.5], np.float32).reshape(1, 2, 2, 1)
    problem = Linear(samples, weights, np.array([0, 4.9], np.float32))
    assert problem.labels == [1]
    attack = geoda.build("l1", **SETTINGS, queries=600, subspace=2)
    with SampleStreams(0, [0], (2, 2, 1)).serving_eagerpy():
        found = perturbed(attack, problem.numpy_model(), samples, problem.labels, starting_points=np.ones_like(samples))
    np.testing.assert_allclose(found.ravel(), [1, 0.575, 0.5, 0.5], atol=3e-4)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("subspace", [2, 4])
def test_a_sample_does_not_depend_on_its_batch(norm: str, subspace: int) -> None:
    problem = linear(8, samples=7, shape=SHAPE, classes=3, margin=0.2)
    parameters = {**SETTINGS, "queries": 300, "subspace": subspace, "initial_draws": 20}
    runs = crafted_in_batches(geoda, norm, problem, problem.numpy_model(), (7, 7, 3, 1), parameters)
    assert runs[0].found.all()
    for other in runs[1:]:
        np.testing.assert_array_equal(runs[0].adversarial, other.adversarial)
    np.testing.assert_array_equal(runs[0].queries, runs[1].queries)


def test_a_budget_of_queries_ends_at_the_same_probe_in_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnn_robustness.attacks.crafting.array_model.ROWS", 14)
    problem = linear(8, samples=7, shape=SHAPE, classes=3, margin=0.2)
    parameters = {**SETTINGS, "queries": 300, "subspace": 4, "sigma": 0.2, "initial_draws": 20}
    model = problem.numpy_model()
    for budget in (103, 110):
        runs = crafted_in_batches(geoda, "l2", problem, model, (7, 3, 1), parameters, query_budget=budget)
        assert (runs[0].queries.max(axis=2) == budget).all()
        for other in runs[1:]:
            np.testing.assert_array_equal(runs[0].adversarial, other.adversarial)
            np.testing.assert_array_equal(runs[0].queries, other.queries)


@pytest.mark.parametrize("queries", [1, 30, 200, 777])
def test_no_sample_spends_more_than_its_queries(two_classes: Linear, queries: int) -> None:
    """From given starting points: one more for the base class, which checks the result."""
    attack = geoda.build("l2", **SETTINGS, queries=queries, subspace=4)
    problem = two_classes
    start = np.clip(problem.samples + 3 * np.sign(difference(problem)), 0, 1).astype(np.float32)
    counter = QueryCounter(problem.numpy_model(), problem.samples, problem.labels, "l2")
    asked = []

    def counted(inputs: np.ndarray) -> np.ndarray:
        asked.append(len(inputs))
        return problem.logits(inputs)

    counter.model._model = counted
    perturbed(attack, counter, problem.samples, problem.labels, starting_points=start)
    assert (counter.queries <= queries + 1).all()
    assert counter.queries.sum() == sum(asked)
    if queries >= 200:
        assert (counter.queries > 0.75 * queries).all()


@given(st.integers(1, 20000), st.floats(0.2, 1.0))
def test_the_plan_keeps_the_budget_and_grows_as_the_theorem_says(queries: int, ratio: float) -> None:
    plan = geoda.query_schedule(queries, ratio)
    assert sum(plan) + geoda.SEARCH_QUERIES * len(plan) <= max(queries, 1 + geoda.SEARCH_QUERIES)
    for before, after in pairwise(plan):
        assert abs(after - before * ratio ** (-2 / 3)) <= 1 + ratio ** (-2 / 3)
    assert len(plan) == 1 or plan[0] >= geoda.FIRST_ESTIMATE


@given(st.integers(1, 12), st.integers(1, 12))
def test_the_cosines_are_the_transform_of_scipy(size: int, frequencies: int) -> None:
    frequencies = min(size, frequencies)
    expected = idctn(np.eye(size), axes=0, norm="ortho")[:, :frequencies]
    np.testing.assert_allclose(geoda.cosines(size, frequencies), expected, atol=1e-12)


def test_black_box_attacks_do_not_need_tensorflow() -> None:
    """Jobs that only run TFLite models import no TensorFlow."""
    program = (
        "import sys; from qnn_robustness.attacks import geoda; "
        "sys.exit(any(name.split('.')[0] == 'tensorflow' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
