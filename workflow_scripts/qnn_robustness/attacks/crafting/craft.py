"""The crafting loop: one attack on one network, for every seed and budget, block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import eagerpy as ep
import foolbox
import numpy as np
from foolbox.attacks.base import Attack
from foolbox.criteria import Misclassification
from foolbox.models import Model

from qnn_robustness.attacks.crafting import balls, lattice
from qnn_robustness.attacks.crafting.queries import BudgetSpent, QueryCounter, Stored
from qnn_robustness.attacks.crafting.streams import SampleStreams
from qnn_robustness.common import registry
from qnn_robustness.common.distances import to_unit
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.progress import note, progress
from qnn_robustness.common.scores import predicted

STARTING_POINTS, SEARCH = 0, 1  # stages of an attack, each with random streams of its own
REJECTED = -2  # stands for a class where a detector rejects


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

    `budgets` are distances for inputs in [0, 1]; none means that the attack minimises the distance. `runs` is
    how often the model runs its network for one input. `warm_starts` [S, E, N, H, W, C] are the adversarial samples
    of another run, where this one begins; methods with WARM_START take them. With `rejection` the last class of the
    model stands for rejection by a detector: what it rejects has not fooled it. Methods with REJECTION see that class,
    to others a rejected input has its label.
    """

    method: ModuleType
    norm: str
    budgets: Sequence[float]
    seeds: Sequence[int]
    on_lattice: bool
    batch_size: int
    query_budget: int | None = None
    runs: int = 1
    parameters: dict[str, Any] = field(default_factory=dict)
    warm_starts: np.ndarray | None = None
    rejection: bool = False

    @classmethod
    def of(cls, attack: dict[str, Any], warm_starts: np.ndarray | None = None, runs: int = 1) -> Setting:
        """Return the setting of a validated entry of the configuration with budgets as numbers."""
        return cls(
            method=registry.load("attacks", attack["method"]),
            norm=attack["norm"],
            budgets=attack["budgets"],
            seeds=attack["seeds"],
            on_lattice=attack["lattice"] == "uint8",
            batch_size=attack["batch_size"],
            query_budget=attack["query_budget"],
            runs=runs,
            parameters=attack["parameters"],
            warm_starts=warm_starts,
            rejection="false_positive_rate" in attack,
        )


@dataclass(frozen=True)
class Block:
    """The samples that are attacked together.

    `places` [B] are theirs among all samples, `streams` [B] the numbers of their random streams; `images` uint8
    [B, H, W, C]; `clean` the same as float32 in [0, 1]; `starts` float32 [B, H, W, C] a sample that the model gives
    another class than the label, where `has_start` [B]; `misclassified` [B] when clean.
    """

    places: np.ndarray
    streams: np.ndarray
    images: np.ndarray
    clean: np.ndarray
    labels: np.ndarray
    starts: np.ndarray
    has_start: np.ndarray
    misclassified: np.ndarray


@dataclass(frozen=True)
class Starts:
    """Other samples to start from: `points` [B, H, W, C], which have another class than the label where `usable`."""

    points: np.ndarray
    usable: np.ndarray


def craft(
    setting: Setting, model: Model, samples: np.ndarray, labels: np.ndarray, streams: np.ndarray | None = None
) -> Crafted:
    """Run an attack on `samples` (uint8 [N, H, W, C]) and `labels` (int64 [N]) for every seed and budget.

    `streams` [N] number the random streams of the samples, by default 0 ... N - 1: with their places in the whole
    split a sample draws the same whichever others are attacked.

    A sample that the model misclassifies when clean is its own adversarial sample for attacks that minimise
    the distance. A failure within a budget keeps the attack's last point (it may fool another precision); a
    failure to minimise comes back clean. Attacks that walk along the boundary start from a random image or, where the
    network gives all of these the label, from another sample; without either the sample is not attacked.

    Samples that the attack returns as no numbers are failures; raises UserError if it returns nothing else.
    """
    if setting.method.ACCESS != "white_box" and isinstance(model, foolbox.TensorFlowModel):
        model = _in_arrays(model)
    budgets = list(setting.budgets) or [None]
    shape = (len(setting.seeds), len(budgets), len(samples))
    kind = np.uint8 if setting.on_lattice else np.float32
    crafted = Crafted(np.empty((*shape, *samples.shape[1:]), kind), np.zeros(shape, bool), np.zeros(shape, np.int64))
    blocks = _blocks(setting, model, samples, labels, np.arange(len(labels)) if streams is None else streams)
    runs = [(s, e, block) for s in range(shape[0]) for e in range(shape[1]) for block in blocks]
    bar = progress(runs, f"crafting {_name(setting.method)}", unit="block")

    def told(queries: np.ndarray) -> None:
        note(bar, f"{queries.mean():.0f} queries a sample")

    attacked = broken = 0
    for s, e, block in bar:
        warm = None if setting.warm_starts is None else to_unit(setting.warm_starts[s, e][block.places])
        adversarial, found, queries, numbers = _craft_block(
            setting, model, block, setting.seeds[s], budgets[e], warm, told
        )
        attacked, broken = attacked + len(numbers), broken + int((~numbers).sum())
        crafted.adversarial[s, e, block.places] = adversarial
        crafted.found[s, e, block.places] = found
        crafted.queries[s, e, block.places] = queries
    _check_numbers(setting.method, broken, attacked)
    return crafted


def _name(method: ModuleType) -> str:
    return method.__name__.rpartition(".")[2]


def _blocks(
    setting: Setting, model: Model, samples: np.ndarray, labels: np.ndarray, streams: np.ndarray
) -> list[Block]:
    clean = to_unit(samples).astype(np.float32)
    rows = [np.arange(len(samples))[i : i + setting.batch_size] for i in range(0, len(samples), setting.batch_size)]
    predictions = np.concatenate([_predictions(setting, model, clean[row]) for row in rows])
    other = _of_another_class(predictions, labels)
    starts = (clean[other], _fooled(predictions[other], labels))
    columns = (streams, samples, clean, labels, *starts, _fooled(predictions, labels))
    return [Block(row, *(column[row] for column in columns)) for row in rows]


def _of_another_class(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return for each sample the place of the next one that is given another class than its label, else its own."""
    chosen = np.arange(len(labels))
    for label in np.unique(labels):
        own, others = np.flatnonzero(labels == label), np.flatnonzero(_fooled(predictions, label))
        if len(others):
            chosen[own] = others[np.searchsorted(others, own) % len(others)]
    return chosen


def _craft_block(
    setting: Setting,
    model: Model,
    block: Block,
    seed: int,
    budget: float | None,
    warm: np.ndarray | None,
    told: Callable[[np.ndarray], None],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return samples, which are found, queries, and for each attacked one whether the attack returned numbers."""
    numbers = np.empty(0, bool)
    adversarial, queries = block.clean.copy(), np.full(len(block.labels), setting.runs, np.int64)
    attacked = np.full(len(block.labels), True) if budget is not None else ~block.misclassified
    if warm is not None:
        adversarial = warm.astype(np.float32)
        attacked &= ~_fooled(_predictions(setting, model, adversarial), block.labels)  # the others are done
    active = np.flatnonzero(attacked)
    if len(active):
        attacked_samples = block.clean[active], block.labels[active]
        left = None if setting.query_budget is None else setting.query_budget - setting.runs
        hidden = setting.rejection and not getattr(setting.method, "REJECTION", False)
        stored = _as_stored(setting, block.images[active], budget)
        counter = QueryCounter(model, *attacked_samples, setting.norm, left, setting.runs, hidden, told, stored)
        starts = Starts(block.starts[active], block.has_start[active])
        try:
            extra = {} if warm is None else {"starting_points": adversarial[active]}
            result = _run(setting, counter, starts, block.streams[active], seed, budget, extra)
        except BudgetSpent:
            result = counter.best
        result = np.where(balls.column(counter.spent, result), counter.best, result)
        numbers = np.isfinite(result).all(axis=tuple(range(1, result.ndim)))
        adversarial[active] = np.where(balls.column(numbers, result), result, block.clean[active])
        queries[active] += counter.queries
    result, found = _stored(setting, model, adversarial, block, budget)
    return result, found, queries, numbers


def _run(
    setting: Setting,
    counter: QueryCounter,
    starts: Starts,
    streams: np.ndarray,
    seed: int,
    budget: float | None,
    extra: dict[str, np.ndarray],
) -> np.ndarray:
    """Return the attack's samples (float32) for the samples that `counter` counts for."""
    attack = setting.method.build(setting.norm, **setting.parameters)
    chosen = np.arange(len(streams))
    if getattr(attack, "init_attack", None) is not None:
        with SampleStreams(seed, streams, counter.samples.shape[1:], STARTING_POINTS).serving_eagerpy():
            extra["starting_points"], chosen = _starting_points(attack, counter, starts)
    result = counter.samples.copy()
    if not len(chosen):
        return result
    counter.spent[np.setdiff1d(np.arange(len(streams)), chosen)] = True
    extra = {name: _native(counter.model, values[chosen]) for name, values in extra.items()}
    inputs, labels = (_native(counter.model, values[chosen]) for values in (counter.samples, counter.labels))
    serving = SampleStreams(seed, streams[chosen], counter.samples.shape[1:], SEARCH).serving_eagerpy()
    if budget is not None and setting.on_lattice:
        budget = lattice.searched(setting.norm, budget)
    with counter.only(chosen), serving:
        _, clipped, _ = attack(counter, inputs, Misclassification(labels), epsilons=budget, **extra)
    result[chosen] = ep.astensor(clipped).numpy()
    return result


def _check_numbers(method: ModuleType, broken: int, attacked: int) -> None:
    """Tell of samples that came back as no numbers, and raise UserError if all did: no network is robust to that."""
    text = f"{_name(method)}: {broken} of {attacked} samples came back with values that are no numbers"
    if broken and broken == attacked:
        raise UserError(text)
    if broken:
        print(f"{text}; they count as failures", flush=True)


def _starting_points(attack: Attack, counter: QueryCounter, starts: Starts) -> tuple[np.ndarray, np.ndarray]:
    """Return the points that the attack itself finds, else those of `starts`, and the samples that have one."""
    inputs, labels = (_native(counter.model, values) for values in (counter.samples, counter.labels))
    points = ep.astensor(attack.init_attack.run(counter, inputs, Misclassification(labels))).numpy().copy()
    failed = (points == counter.samples).all(axis=tuple(range(1, points.ndim)))
    points[failed] = starts.points[failed]
    return points, np.flatnonzero(~failed | starts.usable)


def _stored(
    setting: Setting, model: Model, adversarial: np.ndarray, block: Block, budget: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples as they are stored, and which of them the model misclassifies."""

    def fooled(candidate: np.ndarray) -> np.ndarray:
        return _fooled(_predictions(setting, model, to_unit(candidate).astype(np.float32)), block.labels)

    if setting.on_lattice and budget is None:
        return lattice.smallest_on_lattice(adversarial, block.images, fooled)
    if setting.on_lattice:
        return lattice.within_budget(adversarial, block.images, setting.norm, budget, fooled)
    found = fooled(adversarial)
    if budget is None:
        adversarial[~found] = block.clean[~found]
    return adversarial, found


def _as_stored(setting: Setting, images: np.ndarray, budget: float | None) -> Stored | None:
    """Return how an attack's points look when stored, if rounding may carry what is within the budget beyond it."""
    if budget is None or not setting.on_lattice or setting.norm == "linf":
        return None

    def stored(points: np.ndarray, positions: np.ndarray) -> np.ndarray:
        kept = lattice.as_stored(points, images[positions], setting.norm, budget)
        return to_unit(kept).astype(np.float32)

    return stored


def _in_arrays(model: foolbox.TensorFlowModel) -> foolbox.NumPyModel:
    """Return the model for searches in arrays: for a few samples their steps as tensors cost more than the network."""
    import tensorflow as tf

    def logits(inputs: np.ndarray) -> np.ndarray:
        return model(tf.constant(inputs, tf.float32)).numpy()

    return foolbox.NumPyModel(logits, model.bounds, data_format="channels_last")


def _native(model: Model, values: np.ndarray) -> Any:
    """Return an array in the framework of the model: a TensorFlow tensor, or the array itself."""
    if isinstance(model, foolbox.TensorFlowModel):
        import tensorflow as tf

        return tf.convert_to_tensor(values)
    return values


def _predictions(setting: Setting, model: Model, inputs: np.ndarray) -> np.ndarray:
    """Return the classes [N] that the model gives to inputs (`predicted`), REJECTED where a detector rejects."""
    logits = ep.astensor(model(_native(model, inputs))).numpy()
    predictions = predicted(logits)
    return np.where(setting.rejection & (predictions == logits.shape[1] - 1), REJECTED, predictions)


def _fooled(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (predictions != labels) & (predictions != REJECTED)
