"""Square against exact distances, the rules of its paper replayed from its queries, and its promises."""

from __future__ import annotations

from types import ModuleType

import foolbox
import numpy as np
import pytest
from attack_models import Linear, aimed, linear
from attack_oracles import (
    attacked,
    attacked_some,
    check_independence,
    exact_distances,
    least_move,
    rectified,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn_robustness.attacks import geoda, square, zoo
from qnn_robustness.attacks.crafting.craft import Setting, craft
from qnn_robustness.attacks.crafting.streams import SampleStreams
from qnn_robustness.attacks.square import _pattern
from qnn_robustness.common.distances import distance

NORMS = ("linf", "l2")
# Of the smallest perturbation: budgets this much above it must suffice. The L2 version moves by peaks of fixed shape,
# and the normals of these classifiers are noise, the least like them.
TOLERANCE = {"linf": 0.01, "l2": 1.5}


def attack(norm: str, queries: int = 400, initial_share: float = 0.8):
    return square.build(norm, queries=queries, initial_share=initial_share)


def near_corners(seed: int, samples: int, shape: tuple[int, ...] = (2, 2, 3), classes: int = 2) -> Linear:
    network = linear(seed, samples=samples, shape=shape, classes=classes)
    generator = np.random.default_rng(seed)
    points = generator.choice([0.0, 0.02, 0.5, 0.97, 1.0], size=network.samples.shape)
    return Linear(points.astype(np.float32), network.weights, network.bias)


# --- exact distances ----------------------------------------------------------------------------------------


def check_threshold(model, samples, labels, exact: np.ndarray, norm: str) -> None:
    """The attack succeeds for budgets above the exact distance and for none below it."""
    for budget in np.quantile(exact, [0.4, 1], method="nearest"):
        wide = float(budget * (1 + TOLERANCE[norm]))
        above = attacked(attack(norm, 1500), model, samples, labels, wide, norm=norm)
        assert above.found[exact <= budget].all()
        assert not above.found[exact > wide * (1 + 1e-5)].any()
        below = attacked(attack(norm), model, samples, labels, float(budget * (1 - 1e-4)), norm=norm)
        assert not below.found[exact >= budget].any()


@pytest.mark.parametrize("norm", NORMS)
def test_linear_classifiers(norm: str) -> None:
    network = linear(seed=1, samples=12, shape=(4, 4, 1), classes=2)
    check_threshold(network.numpy_model(), network.samples, network.labels, network.distances(norm), norm)


def test_linear_classifiers_with_the_box_in_the_way() -> None:
    network = near_corners(seed=3, samples=9)
    exact = exact_distances(network, "linf")
    assert np.isfinite(exact).all()
    check_threshold(network.numpy_model(), network.samples, network.labels, exact, "linf")


@pytest.mark.parametrize("norm", NORMS)
def test_rectified_networks_are_never_fooled_below_the_exact_distance(norm: str) -> None:
    network = rectified(seed=0)
    exact = network.distances(norm)
    model, middle = network.numpy_model(), float(np.median(exact))
    run = attacked(attack(norm), model, network.samples, network.labels, middle, norm=norm)
    assert not run.found[exact > middle * (1 + 1e-5)].any()
    wide = middle * (1 + TOLERANCE[norm])
    assert attacked(attack(norm), model, network.samples, network.labels, wide, norm=norm).found.any()


# --- the rules of the paper ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "divisor"),
    [
        (1, 1),
        (10, 1),
        (11, 2),
        (50, 2),
        (51, 4),
        (201, 8),
        (1001, 16),
        (2001, 32),
        (4001, 64),
        (6001, 128),
        (8001, 256),
    ],
)
def test_schedule(query: int, divisor: int) -> None:
    assert square.share_at(query, 10_000, 0.8) == 0.8 / divisor
    if query % 2 == 0:  # half as many queries, half as late
        assert square.share_at(query // 2, 5_000, 0.8) == 0.8 / divisor


def replayed(network: Linear, run, position: int, steps: int):
    """Yield (query, best point so far, candidate) for one sample, accepting by the margin alone."""
    label = network.labels[position]

    def margin(point: np.ndarray) -> float:
        logits = network.logits(point[None])[0].astype(np.float64)
        return np.delete(logits, label).max() - logits[label]

    best = run.calls[1][position]
    for query in range(2, steps):
        candidate = run.calls[query][position]
        yield query, best, candidate
        if margin(candidate) >= margin(best):
            best = candidate
    np.testing.assert_array_equal(run.points[position], best)


def test_each_linf_query_changes_one_square_of_the_best_point_so_far() -> None:
    network, budget, queries = near_corners(seed=4, samples=6, shape=(6, 7, 2), classes=4), 1e-5, 150
    run = attacked(attack("linf", queries), network.numpy_model(), network.samples, network.labels, budget, norm="linf")
    kept = np.flatnonzero(~run.found)
    assert len(kept) == 6
    sides, corners = [], set()
    for position in kept:
        clean = network.samples[position]
        ends = np.clip(clean + np.float32(budget) * np.array([-1, 1], np.float32)[:, None, None, None], 0, 1)
        stripes = (run.calls[1][position] - clean) > 0
        inside = (clean > 0.01) & (clean < 0.99)
        for column in range(7):
            for channel in range(2):
                assert len(set(stripes[inside[:, column, channel], column, channel])) <= 1
        for query, best, candidate in replayed(network, run, position, queries):
            side = max(round(np.sqrt(square.share_at(query, queries, 0.8) * 42)), 1)
            rows, columns = np.nonzero((candidate != best).any(axis=2))
            assert len(rows) > 0, "a query was wasted on an unchanged point"
            assert np.ptp(rows) < side
            assert np.ptp(columns) < side
            assert ((candidate == ends[0]) | (candidate == ends[1])).all()
            sides.append(side)
            corners.add((rows.min(), columns.min()))
    assert {1, 2, 3} <= set(sides)
    assert {(0, 0), (5, 6)} <= corners


def test_each_l2_query_has_the_whole_budget_and_changes_two_squares() -> None:
    network, budget, queries = linear(5, samples=4, shape=(9, 9, 2), classes=3), 0.01, 150
    run = attacked(attack("l2", queries), network.numpy_model(), network.samples, network.labels, budget, norm="l2")
    assert not run.found.any()
    for position in range(4):
        clean = network.samples[position].astype(np.float64)
        for query, best, candidate in replayed(network, run, position, queries):
            side = max(round(np.sqrt(square.share_at(query, queries, 0.8) * 81)), 3)
            side = min(side + 1 - side % 2, 9)
            move, former = candidate - clean, best - clean
            assert np.linalg.norm(move) == pytest.approx(budget, rel=1e-3)
            # Outside of the two squares the move is the former one, scaled: a constant ratio where it is not 0.
            ratios = move / np.where(np.abs(former) > 1e-5, former, np.nan)
            values = ratios[np.isfinite(ratios)]
            scale = np.median(values[np.abs(values) > 0.1])
            same = np.isfinite(ratios) & (np.abs(ratios - scale) < 1e-2)
            assert (~same & (np.abs(former) > 1e-5)).sum() <= 2 * side * side * 2


def test_pattern_by_the_definition_of_the_paper() -> None:
    for side in (1, 3, 5, 8):
        halves = []
        for height in (side // 2, side - side // 2):
            values = np.zeros((height, side))
            largest = max(height // 2, side // 2)
            for row in range(height):
                for column in range(side):
                    for reach in range(largest + 1):
                        if abs(row - height // 2) <= reach and abs(column - side // 2) <= reach:
                            values[row, column] += 1 / (reach + 1) ** 2
            halves.append(values / max(np.linalg.norm(values), 1e-12))
        expected = np.concatenate([halves[0], -halves[1]])
        np.testing.assert_allclose(_pattern(side), expected / np.linalg.norm(expected), rtol=1e-5)


# --- promises -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=30)
@given(seed=st.integers(0, 1000), share=st.floats(0.01, 2), shape=st.sampled_from([(2, 2, 3), (7, 3, 1)]))
def test_every_query_is_within_the_budget_and_the_box(
    norm: str, seed: int, share: float, shape: tuple[int, ...]
) -> None:
    network = near_corners(seed, 5, shape)
    budget = share * {"linf": 0.2, "l2": 0.6}[norm]
    run = attacked(attack(norm, 40), network.numpy_model(), network.samples, network.labels, budget, norm=norm)
    assert distance(norm, run.points, network.samples).max() <= budget + 1e-6
    assert (network.logits(run.points).argmax(axis=1) != network.labels)[run.found].all()
    for call in run.calls:
        assert call.min() >= 0
        assert call.max() <= 1
    for position in np.flatnonzero(~run.found):
        queried = np.stack([call[position] for call in run.calls if len(call) == len(network.samples)])
        clean = np.broadcast_to(network.samples[position], queried.shape)
        assert distance(norm, queried, clean).max() <= budget + 1e-6


@pytest.mark.parametrize(("norm", "budget"), [("linf", 6 / 255), ("linf", 6.6 / 255), ("l2", 0.15)])
def test_lattice(norm: str, budget: float) -> None:
    network = linear(seed=5, samples=40, margin=0.3, classes=2)
    images = np.rint(network.samples * 255).astype(np.uint8)

    def rounded(inputs: np.ndarray) -> np.ndarray:
        return network.logits(np.rint(inputs * np.float32(255)) / np.float32(255))

    model = foolbox.NumPyModel(rounded, bounds=(0, 1), data_format="channels_last")
    labels = network.logits(images / np.float32(255)).argmax(axis=1)
    setting = Setting(square, norm, [budget], [0], True, 16, parameters={"queries": 500, "initial_share": 0.8})
    crafted = craft(setting, model, images, labels)
    found, points = crafted.found[0, 0], crafted.adversarial[0, 0]
    assert 0 < found.sum() < len(found)
    assert (distance(norm, points, images) <= budget + 1e-9).all()
    assert ((network.logits(points / np.float32(255)).argmax(axis=1) != labels) == found).all()
    if norm == "linf":  # the optimum of the lattice is the corner of the whole levels
        corner = Linear(images / np.float32(255), network.weights, network.bias)
        np.testing.assert_array_equal(found, exact_distances(corner, norm) < int(budget * 255 + 1e-9) / 255)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("queries", [2, 3, 60])
def test_queries(norm: str, queries: int) -> None:
    network = linear(seed=6, samples=12, classes=3)
    labels = network.labels.copy()
    labels[0] = (labels[0] + 1) % 3
    budget = float(np.median(network.distances(norm)))
    run = attacked(attack(norm, queries), network.numpy_model(), network.samples, labels, budget, norm=norm)
    final = 1  # Foolbox looks at every result once more
    assert run.queries[0] == 1 + final
    np.testing.assert_array_equal(run.points[0], network.samples[0])
    assert (run.queries[~run.found] == queries + final).all()
    assert (run.queries[run.found] <= queries + final).all()
    assert sum(len(call) for call in run.calls) == run.queries.sum()


@pytest.mark.parametrize("norm", NORMS)
def test_samples_do_not_depend_on_each_other(norm: str) -> None:
    network = linear(seed=7, samples=8, classes=4)
    budget = float(np.median(network.distances(norm))) * 1.05

    def run(chosen: list[int], seed: int = 0):
        model = network.numpy_model()
        return attacked_some(attack(norm, 120), model, network, budget, chosen, norm=norm, seed=seed)

    together = check_independence(run)
    assert 0 < together.found.sum() < 8
    assert (run(list(range(8)), seed=1).calls[1] != together.calls[1]).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_a_target_is_reached_and_never_below_the_exact_distance_to_it(norm: str) -> None:
    network = near_corners(seed=3, samples=9, classes=3)
    weights, targets = network.weights.astype(np.float64).T, (network.labels + 1) % 3
    logits, rows = network.logits(network.samples).astype(np.float64), np.arange(9)
    normals = weights[targets] - weights[network.labels]
    gaps = logits[rows, network.labels] - logits[rows, targets]
    flat = network.samples.reshape(9, -1).astype(np.float64)
    # to leave the label for the target; a third class may be in the way
    least = np.array([least_move(norm, *case) for case in zip(normals, gaps, flat, strict=True)])
    budget = float(np.median(least))
    goal = aimed(network.numpy_model(), targets)
    for limit, wanted in ((budget * 0.999, 0), (budget * 4, 5)):
        with SampleStreams(0, range(9), network.samples.shape[1:]).serving_eagerpy():
            _, found, reached = attack(norm, 800)(network.numpy_model(), network.samples, goal, epsilons=limit)
        np.testing.assert_array_equal(network.logits(found).argmax(axis=1) == targets, reached)
        assert distance(norm, found, network.samples).max() <= limit + 1e-6
        assert not reached[least > limit].any()
        assert reached.sum() >= wanted


def test_scores_that_tie_do_not_hold_the_walk_up() -> None:
    """Of two classes whose scores are coarse one square alone seldom changes the margin."""
    network = linear(seed=1, samples=12, shape=(8, 8, 1), classes=2)
    step = float(np.abs(np.diff(network.logits(network.samples), axis=1)).max()) / 2
    model = foolbox.NumPyModel(lambda inputs: np.round(network.logits(inputs) / step) * step, (0, 1))
    budget = 3 * float(np.median(network.distances("linf")))
    run = attacked(attack("linf", initial_share=0.3), model, network.samples, network.labels, budget, norm="linf")
    assert run.found.sum() >= 9, "a walk that keeps only what helps fools two of twelve"


@pytest.mark.parametrize("method", [square, geoda, zoo])
def test_samples_without_rows_and_columns_are_refused(method: ModuleType) -> None:
    network = linear(seed=1, samples=3, shape=(12,))
    parameters = {
        square: dict(queries=5, initial_share=0.8),
        geoda: dict(queries=50, query_ratio=0.6, sigma=0.02, tolerance=1e-3, subspace=4, initial_draws=20),
        zoo: dict(binary_search_steps=1, steps=2, step_size=0.01, confidence=0.0, initial_constant=1.0)
        | dict(difference=0.1, coordinates=2, attack_spaces=[], importance_sampling=False, abort_early=False),
    }[method]
    criterion = foolbox.criteria.Misclassification(network.labels)
    with pytest.raises(ValueError, match=r"expected samples \[N, H, W, C\], got the shape \[3, 12\]"):
        method.build("l2", **parameters)(network.numpy_model(), network.samples, criterion, epsilons=[0.1])
