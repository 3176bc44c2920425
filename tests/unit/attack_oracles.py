"""Exact smallest perturbations with the box in the way, networks of one linear region, and recorded runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import eagerpy as ep
import foolbox
import numpy as np
from attack_models import Linear, native
from foolbox.attacks.base import Attack
from foolbox.models import Model
from scipy.optimize import linprog, minimize

from qnn_robustness.attacks.crafting.craft import Crafted, Setting, craft
from qnn_robustness.attacks.crafting.queries import QueryCounter
from qnn_robustness.attacks.crafting.streams import SampleStreams


class Recorder(Model):
    """A model that keeps every array it was called with."""

    def __init__(self, model: Model):
        self.model, self.calls = model, []

    @property
    def bounds(self) -> Any:
        return self.model.bounds

    def __call__(self, inputs: Any) -> Any:
        self.calls.append(ep.astensor(inputs).numpy().copy())
        return self.model(inputs)


@dataclass
class Run:
    """What an attack returned (samples as it left them), and what it cost."""

    points: np.ndarray
    found: np.ndarray
    queries: np.ndarray
    calls: list[np.ndarray] = field(repr=False)


def attacked(
    attack: Attack,
    model: foolbox.Model,
    samples: np.ndarray,
    labels: np.ndarray,
    budget: float | None,
    *,
    norm: str,
    seed: int = 0,
    indices: Sequence[int] | None = None,
) -> Run:
    """Run an attack as crafting does: queries counted, random streams of (seed, index of the sample)."""
    indices = range(len(samples)) if indices is None else indices
    recorder = Recorder(model)
    counter = QueryCounter(recorder, samples, labels, norm)
    inputs, wanted = native(model, samples), native(model, labels)
    with SampleStreams(seed, indices, samples.shape[1:]).serving_eagerpy():
        _, points, found = attack(counter, inputs, foolbox.criteria.Misclassification(wanted), epsilons=budget)
    return Run(ep.astensor(points).numpy(), ep.astensor(found).numpy(), counter.queries, recorder.calls)


def attacked_some(
    attack: Attack,
    model: foolbox.Model,
    network: Linear,
    budget: float | None,
    chosen: list[int],
    *,
    norm: str,
    seed: int,
) -> Run:
    """Attack some of a classifier's samples, each with the random stream of its place among all."""
    samples, labels = network.samples[chosen], network.labels[chosen]
    return attacked(attack, model, samples, labels, budget, norm=norm, seed=seed, indices=chosen)


def check_independence(run: Callable[[list[int]], Run]) -> Run:
    """Check that each of eight samples ends the same, bit by bit, whichever others `run` attacks; return all eight."""
    everything = list(range(8))
    together = run(everything)
    for chosen in ([3], [5, 1], [7, 6, 2, 0]):
        apart = run(chosen)
        np.testing.assert_array_equal(apart.points, together.points[chosen])
        np.testing.assert_array_equal(apart.queries, together.queries[chosen])
    np.testing.assert_array_equal(run(everything).points, together.points)
    return together


def crafted_in_batches(
    method: ModuleType,
    norm: str,
    problem: Linear,
    model: foolbox.Model,
    sizes: Sequence[int],
    parameters: dict[str, Any],
    budgets: Sequence[float] = (),
    **changes: Any,
) -> list[Crafted]:
    """Craft for two seeds on the samples of a problem, rounded to 8 bits, in batches of each of the sizes."""
    samples = np.rint(problem.samples * 255).astype(np.uint8)
    labels = problem.logits(samples / np.float32(255)).argmax(axis=1)
    settings = [Setting(method, norm, budgets, [0, 1], False, size, parameters=parameters, **changes) for size in sizes]
    return [craft(setting, model, samples, labels) for setting in settings]


def rowwise_model(network: Linear) -> foolbox.TensorFlowModel:
    """Return the classifier in TensorFlow with each row computed by itself, comparable bit by bit."""
    import tensorflow as tf

    weights, bias = tf.constant(network.weights), tf.constant(network.bias)

    def logits(inputs: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.reshape(inputs, (-1, len(network.weights), 1)) * weights, axis=1) + bias

    return foolbox.TensorFlowModel(logits, bounds=(0, 1))


def exact_distances(network: Linear, norm: str) -> np.ndarray:
    """Return the smallest perturbation [N] within [0, 1]: a linear (Linf) or quadratic (L2) program."""
    logits = network.logits(network.samples).astype(np.float64)
    weights = network.weights.astype(np.float64)
    result = []
    for sample, label, scores in zip(network.samples, network.labels, logits, strict=True):
        others = [other for other in range(logits.shape[1]) if other != label]
        result.append(
            min(
                least_move(norm, weights[:, other] - weights[:, label], scores[label] - scores[other], sample.ravel())
                for other in others
            )
        )
    return np.array(result)


def least_move(norm: str, normal: np.ndarray, gap: float, sample: np.ndarray) -> float:
    """Return the length of the shortest move within the box that gains `gap` along `normal`; inf if none does."""
    return (_least_linf if norm == "linf" else _least_l2)(normal, gap, sample)


def _least_linf(normal: np.ndarray, gap: float, sample: np.ndarray) -> float:
    size = len(normal)
    below = np.hstack([np.eye(size), -np.ones((size, 1))])
    above = np.hstack([-np.eye(size), -np.ones((size, 1))])
    reach = np.hstack([-normal, 0])[None]
    solution = linprog(
        np.hstack([np.zeros(size), 1]),
        A_ub=np.vstack([below, above, reach]),
        b_ub=np.hstack([np.zeros(2 * size), -gap]),
        bounds=[*zip(-sample, 1 - sample, strict=True), (0, None)],
    )
    return solution.fun if solution.success else np.inf


def _least_l2(normal: np.ndarray, gap: float, sample: np.ndarray) -> float:
    feasible = np.where(normal > 0, 1 - sample, -sample)
    if feasible @ normal < gap:
        return np.inf
    solution = minimize(
        lambda move: move @ move,
        feasible,
        jac=lambda move: 2 * move,
        bounds=list(zip(-sample, 1 - sample, strict=True)),
        constraints={"type": "ineq", "fun": lambda move: move @ normal - gap, "jac": lambda move: normal},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert solution.success
    return float(np.sqrt(solution.fun))


@dataclass(frozen=True)
class Rectified:
    """A network of two layers with ReLU; `distances` are exact: they end within one linear region."""

    samples: np.ndarray
    labels: np.ndarray
    first: np.ndarray
    shift: np.ndarray
    second: np.ndarray

    def model(self) -> foolbox.TensorFlowModel:
        import tensorflow as tf

        first, shift, second = map(tf.constant, (self.first, self.shift, self.second))
        size = len(self.first)
        return foolbox.TensorFlowModel(
            lambda x: tf.nn.relu(tf.reshape(x, (-1, size)) @ first + shift) @ second, bounds=(0, 1)
        )

    def numpy_model(self) -> foolbox.NumPyModel:
        def logits(inputs: np.ndarray) -> np.ndarray:
            return np.maximum(inputs.reshape(len(inputs), -1) @ self.first + self.shift, 0) @ self.second

        return foolbox.NumPyModel(logits, bounds=(0, 1))

    def distances(self, norm: str) -> np.ndarray:
        """Return the smallest perturbation [N]; raises where it may leave the sample's linear region."""
        dual = {"linf": 1, "l2": 2}[norm]
        flat = self.samples.reshape(len(self.samples), -1).astype(np.float64)
        hidden = flat @ self.first + self.shift
        region = (np.abs(hidden) / np.linalg.norm(self.first, dual, axis=0)).min(axis=1)
        result = []
        for sample, row, label, radius in zip(flat, hidden, self.labels, region, strict=True):
            weights = (self.first * (row > 0)) @ self.second
            logits = np.maximum(row, 0) @ self.second
            differences = weights.T - weights[:, label]
            with np.errstate(divide="ignore", invalid="ignore"):
                distances = (logits[label] - logits) / np.linalg.norm(differences, dual, axis=1)
            distance = np.delete(distances, label).min()
            assert distance < radius, "the smallest perturbation may lie in another linear region"
            assert distance <= min(sample.min(), 1 - sample.max()), "the box may be in the way"
            result.append(distance)
        return np.array(result)


def rectified(seed: int, samples: int = 12, classes: int = 4) -> Rectified:
    """Return a ReLU network and those of many random samples that are safely inside a linear region."""
    generator = np.random.default_rng(seed)
    size, hidden = 12, 16
    first = generator.normal(size=(size, hidden)).astype(np.float32)
    second = generator.normal(size=(hidden, classes)).astype(np.float32)
    shift = (generator.normal(size=hidden) - 0.5 * first.sum(axis=0)).astype(np.float32)
    candidates = generator.uniform(0.25, 0.75, size=(4000, 2, 2, 3)).astype(np.float32)
    network = Rectified(candidates, np.zeros(0), first, shift, second)
    labels = network.numpy_model()(candidates).argmax(axis=1)
    kept = []
    for position in range(len(candidates)):
        one = slice(position, position + 1)
        trial = Rectified(candidates[one], labels[one], first, shift, second)
        try:
            far = [trial.distances(norm)[0] for norm in ("linf", "l2")]
        except AssertionError:
            continue
        if min(far) > 0.005:
            kept.append(position)
        if len(kept) == samples:
            break
    assert len(kept) == samples
    return Rectified(candidates[kept], labels[kept], first, shift, second)
