"""The crafting loop: one attack on one network, for every seed and budget, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import eagerpy as ep
import foolbox
import numpy as np
from foolbox.models import Model

from qnn_robustness.attacks.crafting import lattice
from qnn_robustness.attacks.crafting.queries import BudgetSpent, QueryCounter
from qnn_robustness.attacks.crafting.streams import SampleStreams
from qnn_robustness.common.distances import to_unit
from qnn_robustness.common.progress import progress

STARTING_POINTS, SEARCH = 0, 1  # stages of an attack, each with random streams of its own


@dataclass(frozen=True)
class Crafted:
    """Adversarial samples of S seeds, E budgets and N samples.

    `adversarial` [S, E, N, H, W, C]: uint8 on the uint8 lattice, float32 in [0, 1] otherwise. `found`
    [S, E, N]: the attack's own word that the sample is misclassified by the source (within the budget).
    `queries` int64 [S, E, N].
    """

    adversarial: np.ndarray
    found: np.ndarray
    queries: np.ndarray


@dataclass(frozen=True)
class Setting:
    """What an attack is run with: an entry of the configuration, made ready for use.

    `budgets` are distances for inputs in [0, 1]; none means that the attack minimises the distance.
    """

    method: ModuleType
    norm: str
    budgets: Sequence[float]
    seeds: Sequence[int]
    on_lattice: bool
    batch_size: int
    query_budget: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


def craft(setting: Setting, model: Model, samples: np.ndarray, labels: np.ndarray) -> Crafted:
    """Run an attack on `samples` (uint8 [N, H, W, C]) and `labels` (int64 [N]) for every seed and budget.

    A sample that the model misclassifies when clean is its own adversarial sample for attacks that minimise
    the distance. A failure within a budget keeps the attack's last point (it may fool another precision); a
    failure to minimise comes back clean.
    """
    budgets = list(setting.budgets) or [None]
    shape = (len(setting.seeds), len(budgets), len(samples))
    kind = np.uint8 if setting.on_lattice else np.float32
    crafted = Crafted(
        np.empty((*shape, *samples.shape[1:]), kind), np.zeros(shape, bool), np.zeros(shape, np.int64)
    )
    blocks = [
        np.arange(len(samples))[start : start + setting.batch_size]
        for start in range(0, len(samples), setting.batch_size)
    ]
    runs = [(s, e, block) for s in range(shape[0]) for e in range(shape[1]) for block in blocks]
    for s, e, block in progress(runs, f"crafting {setting.method.__name__.rpartition('.')[2]}", unit="block"):
        adversarial, found, queries = _craft_block(
            setting, model, samples[block], labels[block], block, setting.seeds[s], budgets[e]
        )
        crafted.adversarial[s, e, block] = adversarial
        crafted.found[s, e, block], crafted.queries[s, e, block] = found, queries
    return crafted


def _craft_block(
    setting: Setting,
    model: Model,
    samples: np.ndarray,
    labels: np.ndarray,
    indices: np.ndarray,
    seed: int,
    budget: float | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    clean = to_unit(samples).astype(np.float32)
    misclassified = _predictions(model, clean) != labels
    adversarial, queries = clean.copy(), np.ones(len(labels), np.int64)
    active = np.ones(len(labels), bool) if budget is not None else ~misclassified
    counter = QueryCounter(model, clean[active], labels[active], setting.norm, setting.query_budget)
    if active.any():
        adversarial[active] = _run(setting, counter, indices[active], seed, budget)
        queries[active] += counter.queries
    result, found = _finished(setting, model, adversarial, samples, labels, budget)
    return result, found, queries


def _run(
    setting: Setting, counter: QueryCounter, indices: np.ndarray, seed: int, budget: float | None
) -> np.ndarray:
    """Return the attack's samples (float32) for the block that `counter` counts for."""
    attack = setting.method.build(setting.norm, **setting.parameters)
    shape = counter.samples.shape[1:]
    start = getattr(attack, "init_attack", None)
    inputs, criterion = _native(counter.model, counter.samples), foolbox.criteria.Misclassification
    labels = _native(counter.model, counter.labels)
    result = counter.samples.copy()
    try:
        chosen, extra = np.arange(len(result)), {}
        if start is not None:
            with SampleStreams(seed, indices, shape, STARTING_POINTS).serving_eagerpy():
                points, _, success = start(counter, inputs, criterion(labels), epsilons=None)
            chosen = np.flatnonzero(ep.astensor(success).numpy())
            extra = {"starting_points": _native(counter.model, ep.astensor(points).numpy()[chosen])}
        if len(chosen):
            with SampleStreams(seed, indices[chosen], shape, SEARCH).serving_eagerpy(), counter.only(chosen):
                _, clipped, _ = attack(
                    counter,
                    _native(counter.model, counter.samples[chosen]),
                    criterion(_native(counter.model, counter.labels[chosen])),
                    epsilons=budget,
                    **extra,
                )
            result[chosen] = ep.astensor(clipped).numpy()
    except BudgetSpent:
        return counter.best
    return result


def _finished(
    setting: Setting,
    model: Model,
    adversarial: np.ndarray,
    samples: np.ndarray,
    labels: np.ndarray,
    budget: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples as they are stored, and which of them the model misclassifies."""

    def fooled(candidate: np.ndarray) -> np.ndarray:
        return _predictions(model, to_unit(candidate).astype(np.float32)) != labels

    if setting.on_lattice and budget is None:
        return lattice.smallest_on_lattice(adversarial, samples, fooled)
    if setting.on_lattice:
        adversarial = lattice.within_budget(adversarial, samples, setting.norm, budget)
        return adversarial, fooled(adversarial)
    found = fooled(adversarial)
    if budget is None:
        adversarial[~found] = to_unit(samples[~found])
    return adversarial, found


def _native(model: Model, values: np.ndarray) -> Any:
    """Return an array in the framework of the model: a TensorFlow tensor, or the array itself."""
    if isinstance(model, foolbox.TensorFlowModel):
        import tensorflow as tf

        return tf.convert_to_tensor(values)
    return values


def _predictions(model: Model, inputs: np.ndarray) -> np.ndarray:
    return ep.astensor(model(_native(model, inputs))).numpy().argmax(axis=1)
