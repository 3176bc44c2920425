"""Square attack (Andriushchenko et al. 2020): random search with square-shaped updates, from logits alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

import numpy as np
from foolbox.attacks.base import Attack

from qnn_robustness.attacks.crafting import balls
from qnn_robustness.attacks.crafting.draws import Draws, whole
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.losses import cross_entropy, margin
from qnn_robustness.attacks.crafting.network import Network, check_images
from qnn_robustness.attacks.crafting.survivors import Outcome, SurvivorsAttack, Task

ACCESS = "score"
NORMS = balls.NORMS
BUDGETED = True
FEWEST_QUERIES = 3  # the clean sample in crafting and again here, and the first point

SCHEDULE = 10_000  # queries that the schedule of the paper is for
HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)  # queries, of these, after which the share is halved
SMALLEST_SIDE = 3  # of the squares of the L2 version
TILES = 5  # tiles along each side of the first L2 perturbation
TINY = 1e-10

Window = tuple[np.ndarray, np.ndarray, np.ndarray]  # indices of samples, rows and columns, each [N, h, w]


class Square(SurvivorsAttack):
    """Raises the margin of the logits by changes of one square at a time; keeps those that do no harm.

    The authors keep only those that help. Scores of integer networks tie, and a walk that stood still wherever they do
    would take rounding for robustness; where scores never tie both are the same.

    A square covers `initial_share` of the image at first, and less as `queries` are used up. `queries` is the
    largest number for a sample, that of the clean one included. The schedule of the shares is stretched to `schedule`
    queries, which are `queries` where nothing is given. Towards a target it lowers the cross-entropy of that class
    instead.
    """

    takes_targets = True

    def __init__(self, norm: str, *, queries: int, initial_share: float, schedule: int | None = None):
        super().__init__(norm)
        self.queries, self.initial_share, self.schedule = queries, initial_share, schedule or queries

    def search(self, network: Network, task: Task, epsilon: float) -> Outcome:
        """Attack `task` [N, H, W, C]; a failure comes back as the best point."""
        check_images(task.clean)
        walk = (_LinfWalk if self.norm == "linf" else _L2Walk)(network, task, epsilon)
        for query in range(2, self.queries):
            if not len(walk.rows):
                break
            walk.step(network, share_at(query, self.schedule, self.initial_share))
        return walk.result()


class _Walk(ABC):
    """The samples that are not classified as wanted yet; `rows` are their positions in the task."""

    def __init__(self, network: Network, task: Task, epsilon: float):
        self.epsilon, self.outcome = epsilon, Outcome(task.clean.copy(), np.zeros(len(task), bool))
        self.rows, self.clean, self.goal = np.arange(len(task)), task.clean, Goal(task.labels, task.targeted)
        self.values = np.full(len(task), -np.inf)
        self.draws = Draws(network, len(task), task.clean.shape[1:])
        self.points = self._first_points()
        self._drop(self._look(network, self.points)[1])

    @abstractmethod
    def _first_points(self) -> np.ndarray:
        """Return where the samples start, [N, H, W, C]."""

    @abstractmethod
    def step(self, network: Network, share: float) -> None:
        """Try a change of a square that covers `share` of the image."""

    def result(self) -> Outcome:
        self.outcome.points[self.rows] = self.points
        return self.outcome

    def _look(self, network: Network, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which candidates are as good as the points or better, and which are classified as wanted."""
        with network.only(self.rows):
            logits = network.logits(candidates)
        fooled, values = self.goal.reached(logits), self._values(logits)
        better = (values >= self.values) | fooled
        self.values = np.where(better, values, self.values)
        return better, fooled

    def _values(self, logits: np.ndarray) -> np.ndarray:
        """Return what is to rise: the margin of misclassification, or minus the cross-entropy of the target."""
        classes = self.goal.classes
        if self.goal.targeted:
            return -cross_entropy(logits, classes, classes)[0]
        return margin(logits, classes, classes)[0]

    def _drop(self, fooled: np.ndarray) -> None:
        if not fooled.any():
            return
        self.outcome.points[self.rows[fooled]] = self.points[fooled]
        self.outcome.fooled[self.rows[fooled]] = True
        for name in ("rows", "clean", "points", "values"):
            setattr(self, name, getattr(self, name)[~fooled])
        self.goal = self.goal.only(~fooled)
        self.draws.keep(~fooled)


class _LinfWalk(_Walk):
    """Algorithm 2 of the paper: every value is moved to one end of its range, square by square."""

    def _first_points(self) -> np.ndarray:
        """Return vertical stripes of width one, each channel at one end of its range."""
        count, _, width, channels = self.clean.shape
        signs = _signs(self.draws.take(width * channels)).reshape(count, 1, width, channels)
        return self._moved(self.clean, signs)

    def step(self, network: Network, share: float) -> None:
        side = max(round(np.sqrt(share * np.prod(self.clean.shape[1:3]))), 1)
        with network.only(self.rows):
            window, former = self._change(side)
        better, fooled = self._look(network, self.points)
        for_worse = tuple(index[~better] for index in window)
        self.points[for_worse] = former[~better]
        self._drop(fooled)

    def _change(self, side: int) -> tuple[Window, np.ndarray]:
        """Change a square of every point in place; return where, and the former values."""
        channels = self.clean.shape[3]
        draws = self.draws.take(2 + channels + 1)
        window = _windows(self.clean.shape, side, draws[:, :2])
        former, clean = self.points[window], self.clean[window]
        signs = _signs(draws[:, 2:-1])
        idle = (self._moved(clean, signs[:, None, None]) == former).all(axis=(1, 2, 3))
        # A change that changes nothing would waste a query: another of the 2 ** channels patterns is drawn.
        flips = 1 + whole(draws[:, -1], 2**channels - 1)
        flipped = np.where((flips[:, None] >> np.arange(channels)) & 1, -signs, signs)
        signs = np.where(idle[:, None], flipped, signs)
        self.points[window] = self._moved(clean, signs[:, None, None])
        return window, former

    def _moved(self, clean: np.ndarray, signs: np.ndarray) -> np.ndarray:
        return np.clip(clean + np.float32(self.epsilon) * signs, 0, 1)


class _L2Walk(_Walk):
    """Algorithm 3 of the paper: squares with a peak in either half, paid for by a square set to zero."""

    def _first_points(self) -> np.ndarray:
        """Return a grid of tiles with peaks of random signs and orientations."""
        height, width, channels = self.clean.shape[1:]
        side = max(min(height, width) // TILES, 1)
        moves = np.zeros(self.clean.shape, np.float32)
        for top in range((height % side) // 2, height - side + 1, side):
            for left in range((width % side) // 2, width - side + 1, side):
                draws = self.draws.take(1 + channels)
                tile = _peaks(side, draws[:, 0])[..., None] * _signs(draws[:, 1:])[:, None, None]
                moves[:, top : top + side, left : left + side] = tile
        return self._reached(moves)

    def step(self, network: Network, share: float) -> None:
        side = max(round(np.sqrt(share * np.prod(self.clean.shape[1:3]))), SMALLEST_SIDE)
        with network.only(self.rows):
            candidates = self._changed(min(side + 1 - side % 2, *self.clean.shape[1:3]))
        better, fooled = self._look(network, candidates)
        self.points[better] = candidates[better]
        self._drop(fooled)

    def _changed(self, side: int) -> np.ndarray:
        """Return candidates [N, H, W, C]: one square gains the length that another one gives up."""
        channels = self.clean.shape[3]
        draws = self.draws.take(5 + channels)
        gaining, giving = (_windows(self.clean.shape, side, draws[:, i : i + 2]) for i in (0, 2))
        moves = self.points - self.clean
        unused = np.maximum(self.epsilon**2 - (moves * moves).sum(axis=(1, 2, 3)), 0)
        former = moves[gaining]
        length = (former * former).sum(axis=(1, 2), keepdims=True)
        moves[gaining] = 0  # so that what both squares cover counts once
        given = (moves[giving] ** 2).sum(axis=(1, 2), keepdims=True)
        moves[giving] = 0
        peaks = _peaks(side, draws[:, 4])[..., None] * _signs(draws[:, 5:])[:, None, None]
        square = peaks + former / (np.sqrt(length) + TINY)
        square /= np.sqrt((square * square).sum(axis=(1, 2), keepdims=True)) + TINY
        moves[gaining] = square * np.sqrt(length + given + balls.column(unused, square) / channels)
        return self._reached(moves)

    def _reached(self, moves: np.ndarray) -> np.ndarray:
        """Return the clean samples moved by the whole budget, within the box."""
        scale = np.float32(self.epsilon) / np.maximum(balls.lengths("l2", moves), TINY)
        return np.clip(self.clean + balls.column(scale, moves) * moves, 0, 1)


def share_at(query: int, schedule: int, initial: float) -> float:
    """Return the share of the image that a square covers at a query; the schedule is stretched to `schedule` queries.

    Section 3.2 of the paper halves it after 10, 50, 200, 1,000, 2,000, ... of 10,000 queries.
    """
    return initial / 2 ** sum(query * SCHEDULE > halving * schedule for halving in HALVINGS)


def _signs(draws: np.ndarray) -> np.ndarray:
    return np.where(draws < 0.5, np.float32(-1), np.float32(1))


def _windows(shape: tuple[int, ...], side: int, draws: np.ndarray) -> Window:
    """Return the indices of a random square in each sample; `draws` [N, 2] say where."""
    count, height, width = shape[:3]
    tall, wide = min(side, height), min(side, width)
    tops, lefts = whole(draws[:, 0], height - tall + 1), whole(draws[:, 1], width - wide + 1)
    rows = tops[:, None, None] + np.arange(tall)[:, None]
    columns = lefts[:, None, None] + np.arange(wide)
    return tuple(np.broadcast_arrays(np.arange(count)[:, None, None], rows, columns))


def _peaks(side: int, draws: np.ndarray) -> np.ndarray:
    """Return a square [N, side, side] of length one with opposite peaks, in one of two orientations."""
    pattern = _pattern(side)
    return np.where(draws[:, None, None] < 0.5, pattern, pattern.T)


@cache
def _pattern(side: int) -> np.ndarray:
    """Return the update of section 3.4 of the paper: a peak in the upper half, its negative in the lower."""
    upper, lower = _peak(side // 2, side), _peak(side - side // 2, side)
    pattern = np.concatenate([upper, -lower])
    return (pattern / np.linalg.norm(pattern)).astype(np.float32)


def _peak(height: int, width: int) -> np.ndarray:
    """Return a peak of length one: the sum of 1 / (k + 1)^2 over the squares k that hold a value.

    Square k is centred at the middle and reaches k values in every direction.
    """
    reach = max(height // 2, width // 2)
    far = np.maximum(np.abs(np.arange(height) - height // 2)[:, None], np.abs(np.arange(width) - width // 2)[None])
    terms = 1.0 / np.arange(1, reach + 2) ** 2
    values = np.cumsum(terms[::-1])[::-1][far]
    return values / max(np.linalg.norm(values), TINY)


def build(norm: str, *, queries: int, initial_share: float) -> Attack:
    """Return the attack; `initial_share` is p of the paper."""
    return Square(norm, queries=queries, initial_share=initial_share)
