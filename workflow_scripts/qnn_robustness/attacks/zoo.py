"""ZOO (Chen et al. 2017, algorithm 2): the loss of Carlini and Wagner, descended by estimated derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.attacks.base import Attack
from foolbox.distances import l2

from qnn_robustness.attacks.crafting import adam, hinge
from qnn_robustness.attacks.crafting.array_attack import ArrayAttack
from qnn_robustness.attacks.crafting.array_model import ArrayModel, rounds_at_once
from qnn_robustness.attacks.crafting.goals import Goal, margins
from qnn_robustness.attacks.crafting.network import Network, check_images
from qnn_robustness.common.distances import distance
from qnn_robustness.common.errors import UserError

ACCESS = "score"
NORMS = ("l2",)
BUDGETED = False
IMPORTANCE_REGIONS = 8  # the attack space is divided into so many regions along each image axis
LEAST_IMPORTANCE = 1e-3  # of an untouched region, relative to the most important one
PROGRESS_CHECKS = 10  # times in a run at which a sample without progress stops
LEAST_PROGRESS = 1e-4


@dataclass
class _Descent:
    """The descent of N samples for one constant each; every array has them as its first axis."""

    space: AttackSpace
    changes: np.ndarray  # perturbation in the attack space, [N, d]
    moments: adam.Moments  # of Adam, [N, d]
    updates: np.ndarray  # how often a coordinate was updated, [N, d]

    @classmethod
    def start(cls, space: AttackSpace, changes: np.ndarray) -> _Descent:
        return cls(space, changes, adam.Moments(changes), np.zeros_like(changes))

    def forget(self, rows: np.ndarray) -> None:
        """Reset Adam for some samples."""
        for values in (self.moments.mean, self.moments.square, self.updates):
            values[rows] = 0

    def update(self, rows: np.ndarray, coordinates: np.ndarray, slopes: np.ndarray, rate: float) -> None:
        """Make one step of Adam (algorithm 2) in `coordinates` [n, B] of the samples `rows` [n]."""
        at = (rows[:, None], coordinates)
        self.updates[at] += 1
        mean, root = self.moments.update(at, slopes, self.updates[at])
        self.changes[at] -= rate * mean / root


class AttackSpace:
    """Perturbations of images [H, W, C], given by `size` x `size` x C numbers that are interpolated bilinearly.

    Size 0 stands for the images themselves.
    """

    def __init__(self, shape: Sequence[int], size: int = 0):
        height, width, channels = shape
        self.shape = (height, width, channels)
        self.grid = (min(size or height, height), min(size or width, width), channels)
        self.rows, self.columns = interpolation(self.grid[0], height), interpolation(self.grid[1], width)

    @property
    def dimensions(self) -> int:
        return int(np.prod(self.grid))

    @property
    def is_whole(self) -> bool:
        return self.grid == self.shape

    def images(self, changes: np.ndarray) -> np.ndarray:
        """Return the perturbations [N, H, W, C] of points [N, d] of the space."""
        if self.is_whole:
            return changes.reshape(-1, *self.shape)
        height, _, channels = self.grid
        lines = self.rows @ changes.reshape(len(changes), height, -1)
        return self.columns @ lines.reshape(len(changes), self.shape[0], -1, channels)

    def units(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the perturbation [..., H, W, C] of each coordinate, scaled to a largest value of 1."""
        row, column, channel = np.unravel_index(coordinates, self.grid)
        vertical, horizontal = self.rows.T[row], self.columns.T[column]
        vertical = vertical / vertical.max(axis=-1, keepdims=True)
        horizontal = horizontal / horizontal.max(axis=-1, keepdims=True)
        plane = vertical[..., :, None] * horizontal[..., None, :]
        return plane[..., None] * (np.arange(self.shape[2]) == channel[..., None])[..., None, None, :]

    def heights(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the largest value of each coordinate's perturbation before the scaling of `units`."""
        row, column, _ = np.unravel_index(coordinates, self.grid)
        return self.rows.max(axis=0)[row] * self.columns.max(axis=0)[column]

    def importance(self, changes: np.ndarray, updates: np.ndarray) -> np.ndarray:
        """Return weights [N, d]: the largest change within the region of a coordinate (section 3.6).

        A region without `updates` [N, d] and changes, of which nothing is known, counts like the most important one.
        """
        result = self._peaks(np.abs(changes))
        visited = (self._peaks(updates) > 0) | (result > 0)
        most = result.max(axis=1, keepdims=True)
        return np.where(
            (most > 0) & visited, np.maximum(result, LEAST_IMPORTANCE * most), np.where(most > 0, most, 1.0)
        )

    def _peaks(self, values: np.ndarray) -> np.ndarray:
        """Return the largest of the values [N, d] within the region of each coordinate."""
        height, width, channels = self.grid
        result = values.reshape(-1, height, width, channels)
        for axis, size in ((1, height), (2, width)):
            starts = np.unique(np.arange(IMPORTANCE_REGIONS) * size // IMPORTANCE_REGIONS)
            peaks = np.maximum.reduceat(result, starts, axis=axis)
            result = np.repeat(peaks, np.diff([*starts, size]), axis=axis)
        return result.reshape(len(values), -1)

    def resized(self, changes: np.ndarray, other: AttackSpace) -> np.ndarray:
        """Return points [N, d] of this space as points of a larger one."""
        between = AttackSpace(other.grid)
        between.grid = self.grid
        between.rows = interpolation(self.grid[0], other.grid[0])
        between.columns = interpolation(self.grid[1], other.grid[1])
        return between.images(changes).reshape(len(changes), -1)


@dataclass(kw_only=True, repr=False, eq=False)
class ZOO(ArrayAttack):
    """Minimises |d|^2 + c * max(margin of the logits + confidence, 0) by coordinate Adam, c found by bisection.

    Each of `steps` steps draws `coordinates` coordinates, estimates the derivative in each from two queries
    (symmetric difference, equation 6), and asks once more at the new point. `difference` is the step of the
    estimate, for inputs in [0, 1]: the paper's 1e-4 is below one level of an 8-bit input, which makes the
    estimate on an integer network zero or huge. Where the box cuts a probe the step actually made counts.

    `attack_spaces` holds sizes of the attack space (sections 3.4 and 3.5), each used for an equal share of the steps;
    empty for the images themselves. With `importance_sampling` coordinates are drawn in proportion to the
    largest change in their region (section 3.6). Adam starts anew at a sample's first success for a
    constant. With `abort_early` a sample leaves a constant when its loss no longer falls.

    Margins of logits are those of the paper's log-probabilities; they are taken in float32.
    """

    distance = l2
    looks_first = True

    binary_search_steps: int
    steps: int
    step_size: float
    confidence: float
    initial_constant: float
    difference: float
    coordinates: int
    attack_spaces: Sequence[int]
    importance_sampling: bool
    abort_early: bool

    def reached(self, goal: Goal, logits: np.ndarray) -> np.ndarray:
        return ~hinge.misses(goal, logits, self.confidence)

    def search(self, network: Network, clean: np.ndarray, goal: Goal) -> np.ndarray:
        """Return the nearest adversarial inputs found; the inputs themselves where none was."""
        check_images(clean)
        best, nearest = clean.copy(), np.full(len(clean), np.inf)
        constants = np.full(len(clean), self.initial_constant)
        low, high = np.zeros(len(clean)), np.full(len(clean), np.inf)
        for _ in range(self.binary_search_steps):
            found = self._descend(network, clean, goal, constants, best, nearest)
            high, low = np.where(found, constants, high), np.where(found, low, constants)
            constants = np.where(np.isinf(high), 10 * constants, (low + high) / 2)
        return best

    def _descend(
        self,
        network: Network,
        clean: np.ndarray,
        goal: Goal,
        constants: np.ndarray,
        best: np.ndarray,
        nearest: np.ndarray,
    ) -> np.ndarray:
        """Run all steps for one constant a sample, improve `best`, and return who was adversarial, [N]."""
        spaces = [AttackSpace(clean.shape[1:], size) for size in self.attack_spaces or [0]]
        descent = _Descent.start(spaces[0], np.zeros((len(clean), spaces[0].dimensions)))
        points, found = clean.copy(), np.zeros(len(clean), bool)
        losses_before = np.full(len(clean), np.inf)
        active = np.arange(len(clean))
        for step in range(self.steps):
            space = spaces[step * len(spaces) // self.steps]
            if space is not descent.space:
                descent = _Descent.start(space, descent.space.resized(descent.changes, space))
            with network.only(active):
                coordinates = self._draw(network.like, descent, active, clean.shape[1:])
                slopes = self.slopes(
                    network, space, clean[active], points[active], goal.only(active), constants[active], coordinates
                )
                descent.update(active, coordinates, slopes, self.step_size)
                points[active] = self._moved(descent, clean, active)
                missed, losses = self._evaluate(
                    network, clean[active], points[active], goal.only(active), constants[active]
                )
            lengths = distance("l2", points[active], clean[active])
            better = ~missed & (lengths < nearest[active])
            best[active[better]], nearest[active[better]] = points[active[better]], lengths[better]
            first = active[~missed & ~found[active]]
            found[first] = True
            descent.forget(first)
            if self.abort_early and step % -(-self.steps // PROGRESS_CHECKS) == 0:
                falling = losses <= (1 - LEAST_PROGRESS) * losses_before[active]
                losses_before[active] = losses
                active = active[falling]
                if not len(active):
                    break
        return found

    def _draw(self, like: ep.Tensor, descent: _Descent, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return the coordinates [n, B] of the next step, drawn for each sample without replacement."""
        draws = ep.uniform(like, (len(rows), *shape), 0.0, 1.0).numpy().reshape(len(rows), -1)
        keys = draws[:, : descent.space.dimensions].astype(np.float64)
        count = min(self.coordinates, keys.shape[1])
        if self.importance_sampling:
            # the largest of u ** (1 / weight) are a draw in proportion to the weights (Efraimidis, Spirakis 2006)
            weights = descent.space.importance(descent.changes[rows], descent.updates[rows])
            keys = np.log(np.maximum(keys, 1e-12)) / weights
        return np.sort(np.argpartition(-keys, count - 1, axis=1)[:, :count], axis=1)

    @staticmethod
    def _moved(descent: _Descent, clean: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the points that the changes stand for; in the whole space the changes are kept in the box."""
        points = np.clip(clean[rows] + descent.space.images(descent.changes[rows]), 0.0, 1.0).astype(np.float32)
        if descent.space.is_whole:
            descent.changes[rows] = (points - clean[rows]).reshape(len(rows), -1)
        return points

    def _evaluate(
        self, model: ArrayModel, clean: np.ndarray, points: np.ndarray, goal: Goal, constants: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return who misses the goal (with the confidence), and the loss, at points of which each is one query."""
        logits = model.logits(points)
        missed = margins(goal, logits).astype(np.float64) + self.confidence
        squares = ((points.astype(np.float64) - clean) ** 2).reshape(len(points), -1).sum(axis=1)
        return ~goal.reached(logits) | (missed > 0), squares + constants * np.maximum(missed, 0)

    def slopes(
        self,
        model: ArrayModel,
        space: AttackSpace,
        clean: np.ndarray,
        points: np.ndarray,
        goal: Goal,
        constants: np.ndarray,
        coordinates: np.ndarray,
    ) -> np.ndarray:
        """Return the estimated derivatives [n, B] of the loss at `points` by the coordinates [n, B] of a space.

        Two queries a coordinate, 2 B a sample, coordinate by coordinate however many go into one call: so a budget of
        queries ends at the same one in every batch.
        """
        at_once = rounds_at_once((2 * len(clean), *clean.shape[1:]))
        parts = []
        for start in range(0, coordinates.shape[1], at_once):
            chosen = coordinates[:, start : start + at_once].T
            units = space.units(chosen)
            probes = np.clip(points + self.difference * units[:, None] * _SIGNS, 0.0, 1.0).astype(np.float32)
            rounds = 2 * len(chosen)
            _, losses = self._evaluate(
                model,
                np.tile(clean, (rounds, 1, 1, 1)),
                probes.reshape(-1, *clean.shape[1:]),
                goal.repeated(rounds),
                np.tile(constants, rounds),
            )
            forward, backward = losses.reshape(len(chosen), 2, -1).swapaxes(0, 1)
            travelled = ((probes[:, 0].astype(np.float64) - probes[:, 1]) * units).sum(axis=(2, 3, 4))
            travelled /= (units**2).sum(axis=(2, 3, 4))
            flat = travelled == 0
            slope = np.where(flat, 0.0, (forward - backward) / np.where(flat, 1.0, travelled))
            parts.append((slope * space.heights(chosen)).T)
        return np.concatenate(parts, axis=1)


_SIGNS = np.array([1.0, -1.0]).reshape(2, 1, 1, 1, 1)


def interpolation(size: int, larger: int) -> np.ndarray:
    """Return the matrix [larger, size] that interpolates linearly between the centres of cells."""
    places = np.clip((np.arange(larger) + 0.5) * size / larger - 0.5, 0, size - 1)
    return np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(size)[None]))


def build(norm: str, **parameters: Any) -> Attack:
    """Return the attack; `difference` and `step_size` are for inputs in [0, 1]."""
    return ZOO(**parameters)


def check_parameters(lattice: str, *, attack_spaces: Sequence[int], **parameters: Any) -> None:
    """Raise UserError if a space is followed by a smaller one, which cannot take over its perturbation."""
    rising = sorted(attack_spaces, key=lambda size: size or np.inf)
    if list(attack_spaces) != rising:
        raise UserError(f"attack_spaces: {attack_spaces} does not rise (0 is the full size); write {rising}")
