"""Attacks that weigh misclassification against a distance by a constant, which is found by bisection."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from qnn_robustness.attacks.crafting import hinge
from qnn_robustness.attacks.crafting.array_attack import ArrayAttack
from qnn_robustness.attacks.crafting.goals import Goal, margins
from qnn_robustness.attacks.crafting.network import Network

REPEATED = 10  # from so many bisections on, the last one repeats the least constant that succeeded
PROGRESS_CHECKS = 10  # times in a run at which a batch without progress stops
LEAST_PROGRESS = 1e-4


@dataclass
class Best:
    """The best adversarial points so far, float32 [N, ...], at first the clean ones, and their lengths [N]."""

    points: np.ndarray
    lengths: np.ndarray

    def note(self, points: np.ndarray, lengths: np.ndarray, reached: np.ndarray) -> None:
        """Keep the points that are adversarial and shorter than those before."""
        better = reached & (lengths < self.lengths)
        self.points[better], self.lengths[better] = points[better], lengths[better]


@dataclass
class Patience:
    """Ends a run of `steps` steps when the losses of a batch no longer fall."""

    steps: int
    before: float = np.inf

    def ends(self, step: int, losses: np.ndarray) -> bool:
        """Return whether the sum of the losses [N] has not fallen since the last check; asked at each step from 0."""
        if step % -(-self.steps // PROGRESS_CHECKS):
            return False
        before, self.before = self.before, float(losses.sum())
        return not self.before <= (1 - LEAST_PROGRESS) * before


@dataclass(kw_only=True, repr=False, eq=False)
class ConstantSearch(ArrayAttack):
    """Minimises a distance + c * max(margin + confidence, 0), c of each sample by bisection.

    The least c that succeeds is looked for (Carlini and Wagner 2017, section V.C): tenfold until one does. With
    `abort_early` all samples leave their constants when the sum of their losses no longer falls.
    """

    binary_search_steps: int
    steps: int
    confidence: float
    initial_constant: float
    abort_early: bool

    def search(self, network: Network, clean: np.ndarray, goal: Goal) -> np.ndarray:
        """Return the best adversarial inputs found; the inputs themselves where none was."""
        best = Best(clean.copy(), np.full(len(clean), np.inf, np.float32))
        constants = np.full(len(clean), self.initial_constant)
        low, high = np.zeros(len(clean)), np.full(len(clean), np.inf)
        for number in range(1, self.binary_search_steps + 1):
            if number == self.binary_search_steps >= REPEATED:
                constants = np.minimum(high, 1e10)
            found = self.descend(network, clean, goal, constants.astype(np.float32), best)
            high, low = np.where(found, constants, high), np.where(found, low, constants)
            constants = np.where(np.isinf(high), 10 * constants, (low + high) / 2)
        return best.points

    @abstractmethod
    def descend(self, network: Network, clean: np.ndarray, goal: Goal, constants: np.ndarray, best: Best) -> np.ndarray:
        """Run all steps for one constant a sample, improve `best`, and return who was adversarial, bool [N]."""

    def pushed(
        self, network: Network, points: np.ndarray, goal: Goal, constants: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits at the points, and the gradient of c * max(margin + confidence, 0)."""
        return hinge.pushed(network, points, goal, constants, self.confidence)

    def reached(self, goal: Goal, logits: np.ndarray) -> np.ndarray:
        return ~hinge.misses(goal, logits, self.confidence)

    def losses(self, goal: Goal, logits: np.ndarray, constants: np.ndarray, moves: np.ndarray) -> np.ndarray:
        """Return the squared L2 length of the moves plus c * max(margin + confidence, 0), [N]."""
        return squares(moves) + constants * np.maximum(margins(goal, logits) + self.confidence, 0)


def squares(moves: np.ndarray) -> np.ndarray:
    """Return the squared L2 length of each row of [N, ...]."""
    flat = moves.reshape(len(moves), -1)
    return np.einsum("nd,nd->n", flat, flat)
