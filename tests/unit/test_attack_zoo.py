"""ZOO: derivatives against exact ones, Adam against hand-written steps, and its promises."""

from __future__ import annotations

import foolbox
import numpy as np
import pytest
from attack_models import Linear, linear, perturbed
from attack_oracles import crafted_in_batches

from qnn_robustness.attacks import zoo
from qnn_robustness.attacks.crafting.array_model import ArrayModel
from qnn_robustness.attacks.crafting.craft import Setting, craft
from qnn_robustness.attacks.crafting.goals import Goal, margins
from qnn_robustness.attacks.crafting.queries import QueryCounter
from qnn_robustness.attacks.crafting.streams import SampleStreams
from qnn_robustness.common.distances import distance

LEVEL = 1 / 255
SETTINGS = dict(
    binary_search_steps=1,
    steps=5,
    step_size=0.02,
    confidence=0.0,
    initial_constant=1.0,
    difference=LEVEL,
    coordinates=100,
    attack_spaces=[],
    importance_sampling=False,
    abort_early=False,
)


def attack(**changes):
    return zoo.build("l2", **{**SETTINGS, **changes})


def arrays(problem: Linear) -> ArrayModel:
    import eagerpy as ep

    return ArrayModel(problem.numpy_model(), ep.astensor(problem.samples))


def exact_slopes(problem: Linear, points: np.ndarray, constants: np.ndarray) -> np.ndarray:
    """Return the derivative [N, D] of |d|^2 + c * (logit of the label - best other logit)."""
    logits = problem.logits(points).astype(np.float64)
    rows = np.arange(len(logits))
    logits[rows, problem.labels] = -np.inf
    weights = problem.weights.astype(np.float64).T
    change = (points.astype(np.float64) - problem.samples).reshape(len(points), -1)
    return 2 * change + constants[:, None] * (weights[problem.labels] - weights[logits.argmax(axis=1)])


def far(seed: int = 0, at_edges: bool = False) -> tuple[Linear, np.ndarray]:
    """Return a problem and points near its samples whose best other class no probe changes."""
    problem = linear(seed, samples=40, shape=(4, 4, 2), classes=3)
    generator = np.random.default_rng(seed)
    if at_edges:
        values = generator.choice(np.array([0, 0.3, 1], np.float32), size=problem.samples.shape)
        problem = Linear(values, problem.weights, problem.bias)
    scores = np.sort(problem.logits(problem.samples), axis=1)
    rows = (scores[:, -1] - scores[:, -2] > 0.2) & (scores[:, -2] - scores[:, -3] > 0.2)
    problem = Linear(problem.samples[rows], problem.weights, problem.bias)
    assert len(problem.samples) > 1
    step = generator.uniform(-0.005, 0.005, size=problem.samples.shape)
    return problem, np.clip(problem.samples + step, 0, 1).astype(np.float32)


@pytest.mark.parametrize("at_edges", [False, True])
@pytest.mark.parametrize("difference", [LEVEL, 0.01])
def test_the_derivatives_are_exact_on_a_linear_model(difference: float, at_edges: bool) -> None:
    """Also where the box cuts a probe: the loss is quadratic, and one-sided differences err by the step made."""
    problem, points = far(1, at_edges)
    constants = np.linspace(0.5, 2, len(points))
    coordinates = np.tile(np.arange(32), (len(points), 1))
    found = attack(difference=difference).slopes(
        arrays(problem),
        zoo.AttackSpace((4, 4, 2)),
        problem.samples,
        points,
        Goal(problem.labels, False),
        constants,
        coordinates,
    )
    exact = exact_slopes(problem, points, constants)
    cut = (points.reshape(found.shape) < difference) | (points.reshape(found.shape) > 1 - difference)
    np.testing.assert_allclose(found[~cut], exact[~cut], atol=2e-3)
    np.testing.assert_allclose(found[cut], exact[cut], atol=2e-3 + 2 * difference)
    assert cut.any() == at_edges


def test_the_derivatives_in_a_small_space_are_those_of_the_chain_rule() -> None:
    problem, points = far(2)
    space = zoo.AttackSpace((4, 4, 2), 3)
    constants = np.full(len(points), 1.5)
    coordinates = np.tile(np.arange(18), (len(points), 1))
    found = attack().slopes(
        arrays(problem), space, problem.samples, points, Goal(problem.labels, False), constants, coordinates
    )
    columns = space.images(np.eye(18)).reshape(18, -1)
    np.testing.assert_allclose(found, exact_slopes(problem, points, constants) @ columns.T, atol=3e-3)


def test_a_small_space_interpolates_between_the_centres_of_its_cells() -> None:
    """A linear function of the place is kept between the outermost centres, a constant everywhere."""
    space = zoo.AttackSpace((12, 8, 1), 4)
    centres = (np.arange(4) + 0.5) / 4
    ramp = np.broadcast_to(centres[:, None, None], (4, 4, 1)).reshape(1, -1)
    image = space.images(ramp)[0, :, 0, 0]
    places = (np.arange(12) + 0.5) / 12
    np.testing.assert_allclose(image, np.clip(places, centres[0], centres[-1]), atol=1e-12)
    np.testing.assert_allclose(space.images(np.ones((1, 16))), 1)
    assert np.allclose(space.units(np.arange(16)).max(axis=(1, 2, 3)), 1)


class ScalarAdam:
    """Algorithm 2 of the paper for one coordinate."""

    def __init__(self, rate: float):
        self.rate, self.mean, self.square, self.count = rate, 0.0, 0.0, 0

    def step(self, slope: float) -> float:
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * slope
        self.square = 0.999 * self.square + 0.001 * slope**2
        mean, square = self.mean / (1 - 0.9**self.count), self.square / (1 - 0.999**self.count)
        return -self.rate * mean / (square**0.5 + 1e-8)


def test_every_coordinate_has_an_adam_of_its_own() -> None:
    generator = np.random.default_rng(3)
    descent = zoo._Descent.start(zoo.AttackSpace((1, 5, 1)), np.zeros((3, 5)))
    expected, adams = np.zeros((3, 5)), [[ScalarAdam(0.1) for _ in range(5)] for _ in range(3)]
    for _ in range(20):
        rows = np.sort(generator.choice(3, 2, replace=False))
        coordinates = np.stack([generator.choice(5, 2, replace=False) for _ in rows])
        slopes = generator.normal(size=(2, 2))
        descent.update(rows, coordinates, slopes, 0.1)
        for row, places, values in zip(rows, coordinates, slopes, strict=True):
            for place, value in zip(places, values, strict=True):
                expected[row, place] += adams[row][place].step(value)
    np.testing.assert_allclose(descent.changes, expected, atol=1e-12)


def test_a_run_visits_the_points_of_hand_written_steps() -> None:
    """All coordinates in every step, exact derivatives, one Adam each; the model sees the points after the probes.

    Before them it sees the clean samples, and what comes back after them.
    """
    problem, _ = far(4)
    seen = []

    def recording(inputs: np.ndarray) -> np.ndarray:
        seen.append(inputs)
        return problem.logits(inputs)

    model = foolbox.NumPyModel(recording, bounds=(0, 1))
    perturbed(attack(step_size=0.0005), model, problem.samples, problem.labels)
    visited = [inputs for inputs in seen if len(inputs) == len(problem.samples)][1:-1]
    points = problem.samples.astype(np.float64)
    adams = [[ScalarAdam(0.0005) for _ in range(32)] for _ in points]
    for step in range(5):
        slopes = exact_slopes(problem, points, np.ones(len(points)))
        moves = [[adam.step(s) for adam, s in zip(*row, strict=True)] for row in zip(adams, slopes, strict=True)]
        points = np.clip(points + np.reshape(moves, points.shape), 0, 1)
        np.testing.assert_allclose(visited[step], points, atol=1e-4)
    assert len(visited) == 5


def test_it_reaches_the_exact_distance_on_a_linear_model_and_never_less() -> None:
    problem = linear(1, samples=6, shape=(2, 2, 3), classes=2)
    exact = problem.distances("l2")
    strong = attack(binary_search_steps=7, steps=120, step_size=0.005, initial_constant=0.01)
    with SampleStreams(0, range(6), (2, 2, 3)).serving_eagerpy():
        found = perturbed(strong, problem.numpy_model(), problem.samples, problem.labels)
    ratio = distance("l2", found, problem.samples) / exact
    assert (problem.logits(found).argmax(axis=1) != problem.labels).all()
    assert (ratio >= 1 - 1e-5).all()
    assert (ratio <= 1.05).all()


def test_only_a_difference_of_a_level_is_felt_by_a_model_that_rounds() -> None:
    problem, points = far(5)
    rounding = ArrayModel(
        foolbox.NumPyModel(lambda x: problem.logits(np.rint(x * 255).astype(np.float32) / 255), (0, 1)),
        arrays(problem).like,
    )
    points = np.rint(points * 255).astype(np.float32) / 255
    clean, goal, ones = points, Goal(problem.labels, False), np.ones(len(points))
    coordinates = np.tile(np.arange(32), (len(points), 1))
    space = zoo.AttackSpace((4, 4, 2))
    felt, lost = (
        attack(difference=step).slopes(rounding, space, clean, points, goal, ones, coordinates)
        for step in (LEVEL, 1e-4)
    )
    change = exact_slopes(problem, points, ones) - 2 * (points - problem.samples).reshape(len(points), -1)
    np.testing.assert_allclose(felt, change, atol=5e-3)
    assert np.abs(lost).max() < 1e-6


def test_margins_do_not_overflow() -> None:
    scores = np.array([[127, -128]], np.int8)
    assert margins(Goal(np.array([0]), False), scores) == [255]
    assert margins(Goal(np.array([0]), True), scores) == [-255]


def test_importance_is_the_largest_change_of_a_region() -> None:
    space = zoo.AttackSpace((20, 9, 2))
    changes = np.random.default_rng(0).normal(size=(1, 360))
    image = np.abs(changes.reshape(20, 9, 2))
    rows = np.repeat(np.arange(8), np.diff([k * 20 // 8 for k in range(9)]))
    columns = np.repeat(np.arange(8), np.diff([k * 9 // 8 for k in range(9)]))
    found = space.importance(changes, np.zeros((1, 360))).reshape(20, 9, 2)
    for i, j, c in np.ndindex(20, 9, 2):
        region = image[rows == rows[i]][:, columns == columns[j], c]
        assert found[i, j, c] == region.max()


def test_a_region_that_no_step_has_met_is_as_important_as_any() -> None:
    space = zoo.AttackSpace((1, 4, 1))
    weights = space.importance(np.array([[0.0, 0.5, 2.0, 0.0]]), np.array([[0.0, 1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(weights, [[2, 0.5, 2, 2 * zoo.LEAST_IMPORTANCE]])


def test_coordinates_are_drawn_in_proportion_to_their_importance() -> None:
    """One coordinate a draw, 2,000 independent samples: shares within four standard errors."""
    import eagerpy as ep

    count, space = 2000, zoo.AttackSpace((1, 4, 1))
    changes = np.tile(np.array([0.0, 1.0, 2.0, 5.0]), (count, 1))
    descent = zoo._Descent.start(space, changes)
    descent.updates[:] = 1
    like = ep.astensor(np.zeros((count, 1, 4, 1), np.float32))
    with SampleStreams(0, range(count), (1, 4, 1)).serving_eagerpy():
        drawn = attack(coordinates=1, importance_sampling=True)._draw(like, descent, np.arange(count), (1, 4, 1))
    share = np.bincount(drawn.ravel(), minlength=4) / count
    wanted = np.array([0.005, 1, 2, 5]) / 8.005
    assert (np.abs(share - wanted) <= 4 * np.sqrt(wanted * (1 - wanted) / count)).all()


@pytest.mark.parametrize(
    "changes",
    [{}, {"attack_spaces": [2, 0], "importance_sampling": True}, {"abort_early": True, "step_size": 0.05}],
    ids=["plain", "hierarchical", "aborting"],
)
def test_a_sample_does_not_depend_on_its_batch(changes: dict) -> None:
    problem = linear(8, samples=6, shape=(4, 4, 1), classes=3, margin=0.2)
    parameters = {**SETTINGS, "steps": 15, "binary_search_steps": 2, "coordinates": 5, **changes}
    runs = crafted_in_batches(zoo, "l2", problem, problem.numpy_model(), (6, 6, 4, 1), parameters)
    assert runs[0].found.any()
    for other in runs[1:]:
        np.testing.assert_array_equal(runs[0].adversarial, other.adversarial)
        np.testing.assert_array_equal(runs[0].queries, other.queries)


def test_a_budget_of_queries_ends_at_the_same_probe_in_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnn_robustness.attacks.crafting.array_model.ROWS", 12)
    problem = linear(8, samples=6, shape=(4, 4, 1), classes=3, margin=0.05)
    parameters = {**SETTINGS, "steps": 15, "coordinates": 16, "difference": 0.2}
    for budget in (30, 44):
        runs = crafted_in_batches(zoo, "l2", problem, problem.numpy_model(), (6, 4, 1), parameters, query_budget=budget)
        assert (runs[0].queries.max(axis=2) == budget).all()
        for other in runs[1:]:
            np.testing.assert_array_equal(runs[0].adversarial, other.adversarial)
            np.testing.assert_array_equal(runs[0].queries, other.queries)


@pytest.mark.parametrize("spaces", [[], [2, 0]])
def test_queries_are_two_for_a_coordinate_and_one_for_a_step(spaces: list[int]) -> None:
    problem = linear(8, samples=4, shape=(4, 4, 1), classes=3, margin=0.3)
    counter = QueryCounter(problem.numpy_model(), problem.samples, problem.labels, "l2")
    attempt = attack(binary_search_steps=3, steps=4, coordinates=7, attack_spaces=spaces)
    perturbed(attempt, counter, problem.samples, problem.labels)
    per_run = 4 * (2 * 7 + 1) if not spaces else 2 * (2 * 4 + 1) + 2 * (2 * 7 + 1)
    assert counter.queries.tolist() == [3 * per_run + 1] * 4


def test_the_query_budget_of_a_run_is_kept() -> None:
    problem = linear(9, samples=4, shape=(4, 4, 1), classes=3, margin=0.1)
    samples = np.rint(problem.samples * 255).astype(np.uint8)
    labels = problem.logits(samples / np.float32(255)).argmax(axis=1)
    setting = Setting(zoo, "l2", [], [0], False, 4, query_budget=200, parameters={**SETTINGS, "steps": 50})
    crafted = craft(setting, problem.numpy_model(), samples, labels)
    assert (crafted.queries <= 201).all()
    assert (crafted.queries > 150).all()


def test_it_is_as_good_as_the_reference_implementation() -> None:
    """ART 1.20.1 on the same model and samples with the same steps: success at least, distortion 1.05 at most."""
    evasion = pytest.importorskip("art.attacks.evasion")
    from art.estimators.classification import BlackBoxClassifierNeuralNetwork

    problem = linear(10, samples=12, shape=(4, 4, 1), classes=3, margin=0.15)
    peer = BlackBoxClassifierNeuralNetwork(problem.logits, (4, 4, 1), 3, channels_first=False, clip_values=(0, 1))
    same = dict(binary_search_steps=5, confidence=0.0, abort_early=False)
    theirs = evasion.ZooAttack(
        peer,
        **same,
        max_iter=20,
        learning_rate=0.01,
        initial_const=0.1,
        use_resize=False,
        use_importance=False,
        nb_parallel=16,
        variable_h=LEVEL,
        verbose=False,
    ).generate(problem.samples, np.eye(3)[problem.labels])
    ours_attack = attack(**same, steps=20, step_size=0.01, initial_constant=0.1, coordinates=16)
    ours = perturbed(ours_attack, problem.numpy_model(), problem.samples, problem.labels)
    fooled = [problem.logits(found).argmax(axis=1) != problem.labels for found in (ours, theirs)]
    assert fooled[0].sum() >= fooled[1].sum() > 0
    both = fooled[0] & fooled[1]
    lengths = [np.median(distance("l2", found, problem.samples)[both]) for found in (ours, theirs)]
    assert lengths[0] <= 1.05 * lengths[1]
