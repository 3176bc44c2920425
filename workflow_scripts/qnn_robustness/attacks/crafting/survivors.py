"""Attacks within a budget that drop each sample as soon as it is misclassified."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.attacks.base import FixedEpsilonAttack, get_criterion, raise_if_kwargs
from foolbox.distances import Distance
from foolbox.distances import l2 as distance_l2
from foolbox.distances import linf as distance_linf
from foolbox.models import Model

from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.gradients import check_gradients
from qnn_robustness.attacks.crafting.network import Network
from qnn_robustness.attacks.crafting.unit_box import in_unit_box

DISTANCES: dict[str, Distance] = {"linf": distance_linf, "l2": distance_l2}


@dataclass(frozen=True)
class Task:
    """Samples to attack: clean inputs float32 [N, ...] in [0, 1], labels int64 [N], clean logits [N, K].

    The labels are to be predicted when `targeted`, and no longer to be predicted otherwise.
    """

    clean: np.ndarray
    labels: np.ndarray
    logits: np.ndarray
    targeted: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: np.ndarray) -> Task:
        return Task(self.clean[positions], self.labels[positions], self.logits[positions], self.targeted)

    def fooled(self, logits: np.ndarray) -> np.ndarray:
        """Return where the arg-max is as wanted; a mere tie is not enough."""
        return Goal(self.labels, self.targeted).reached(logits)


@dataclass(frozen=True)
class Outcome:
    """Points float32 [N, ...] in [0, 1] and which of them are misclassified within the budget, bool [N]."""

    points: np.ndarray
    fooled: np.ndarray


Stage = Callable[[Network, Task], Outcome]


def in_turn(network: Network, task: Task, stages: Iterable[Stage]) -> Outcome:
    """Run the stages one after the other, each on the samples that none before it has fooled.

    A sample that survives all keeps the point of the first stage.
    """
    points, fooled = task.clean.copy(), np.zeros(len(task), bool)
    for position, stage in enumerate(stages):
        left = np.flatnonzero(~fooled)
        if not len(left):
            break
        with network.only(left):
            outcome = stage(network, task.take(left))
        kept = outcome.fooled | (position == 0)
        points[left[kept]], fooled[left] = outcome.points[kept], outcome.fooled
    return Outcome(points, fooled)


class SurvivorsAttack(FixedEpsilonAttack):
    """A Foolbox attack that looks at the clean samples once and searches for those that are not `done` then.

    Those that may be given classes to aim at set `takes_targets`.
    """

    takes_targets = False

    def __init__(self, norm: str):
        self.norm = norm

    @property
    def distance(self) -> Distance:
        return DISTANCES[self.norm]

    @in_unit_box
    def run(self, model: Model, inputs: Any, criterion: Any, *, epsilon: float, **kwargs: Any) -> Any:
        """Return perturbed inputs [N, ...]; samples that are classified as wanted come back clean after one query."""
        raise_if_kwargs(kwargs)
        tensor, restore_type = ep.astensor_(inputs)
        check_gradients(self, model, tensor)
        network, task = begin(model, tensor, criterion, self.takes_targets)
        self.check_classes(task.logits.shape[1])
        points = task.clean.copy()
        left = np.flatnonzero(~self.done(task))
        if len(left):
            with network.only(left):
                points[left] = self.search(network, task.take(left), epsilon).points
        return restore_type(ep.from_numpy(tensor, points))

    def done(self, task: Task) -> np.ndarray:
        """Return which samples [N] need no search: those that are classified as wanted when clean."""
        return task.fooled(task.logits)

    def check_classes(self, classes: int) -> None:
        """Raise UserError if the attack is not defined for this number of classes."""

    @abstractmethod
    def search(self, network: Network, task: Task, epsilon: float) -> Outcome:
        """Attack samples that are not classified as wanted yet, within `epsilon`."""


def begin(model: Model, inputs: ep.Tensor, criterion: Any, takes_targets: bool = False) -> tuple[Network, Task]:
    """Return the network and the task of an attack; costs one query.

    Raises ValueError for criteria other than misclassification, and for a target where the attack takes none.
    """
    clean, goal = inputs.numpy().astype(np.float32), Goal.of(get_criterion(criterion), len(inputs))
    if goal.targeted and not takes_targets:
        raise ValueError(f"expected the criterion Misclassification, got {criterion!r}")
    network = Network(model, inputs, goal)
    return network, Task(clean, goal.classes, network.logits(clean), goal.targeted)
