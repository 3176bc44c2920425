"""FAB (Croce and Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack").

Steps to the linearised boundary, biased towards the clean sample.
"""

from __future__ import annotations

from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.attacks.base import Attack, MinimizationAttack, raise_if_kwargs
from foolbox.distances import Distance
from foolbox.models import Model

from qnn_robustness.attacks.crafting import balls
from qnn_robustness.attacks.crafting.gradients import check_gradients
from qnn_robustness.attacks.crafting.losses import margin, ranked_class
from qnn_robustness.attacks.crafting.network import Network
from qnn_robustness.attacks.crafting.planes import nearest_plane, plane
from qnn_robustness.attacks.crafting.survivors import DISTANCES, Outcome, Task, begin
from qnn_robustness.attacks.crafting.unit_box import in_unit_box

ACCESS = "white_box"
NORMS = balls.NORMS
BUDGETED = False

FINAL_STEPS = 6  # of the search on the segment to the clean sample; the paper has three, without halving
FINAL_AIM = 0.01  # how far past the interpolated boundary it aims, as a share of the rest; half of it after a failure
# ... and at least so far past it, as a share of the distance: on the boundary itself the rounding of float32, which
# another batch changes, decides.
FINAL_MARGIN = 1e-4
SMALLEST_OVERSHOOT = 0.5 / 255  # half a level of an 8-bit input
PATIENCE = 2  # steps that do not leave the class before one that goes at least half a level past the boundary
TIE = 1e-12  # stands for a gap of exactly 0, as integer networks have, so that there is a way out of the class
WIDEST_START = 0.25  # radius of random starts for samples with no result yet, as a share of the box's diameter


class FAB(MinimizationAttack):
    """Looks for the nearest point of another class.

    `targets` classes are tried in turn, those with the largest clean logits first; 0 linearises the boundaries of
    all other classes at every step and goes to the nearest (algorithm 1 of the paper), at the price of one gradient
    for each of them. Any misclassification counts. With several `restarts` all runs but the first start from random
    points at half the smallest distance found so far.

    A step goes `overshoot` times as far as the linearised boundary. On the uint8 lattice, and for integer networks, the
    published five per cent of a small perturbation are lost in the rounding: the step after two that did not leave the
    class goes at least `smallest_overshoot` past the boundary (for the value that changes most).
    """

    def __init__(
        self,
        norm: str,
        *,
        steps: int,
        targets: int,
        restarts: int = 1,
        largest_bias: float = 0.1,
        overshoot: float = 1.05,
        backward_step: float = 0.9,
        smallest_overshoot: float = SMALLEST_OVERSHOOT,
    ):
        self.norm, self.steps, self.targets, self.restarts = norm, steps, targets, restarts
        self.largest_bias, self.overshoot, self.backward_step = largest_bias, overshoot, backward_step
        self.smallest_overshoot = smallest_overshoot

    @property
    def distance(self) -> Distance:
        return DISTANCES[self.norm]

    @in_unit_box
    def run(self, model: Model, inputs: Any, criterion: Any, *, early_stop: float | None = None, **kwargs: Any) -> Any:
        """Return the nearest misclassified points [N, ...]; the clean sample where none was found.

        Samples with a result within `early_stop` are left alone.
        """
        raise_if_kwargs(kwargs)
        tensor, restore_type = ep.astensor_(inputs)
        check_gradients(self, model, tensor)
        network, task = begin(model, tensor, criterion)
        points, left = task.clean.copy(), np.flatnonzero(~task.fooled(task.logits))
        if len(left):
            with network.only(left):
                points[left] = self.search(network, task.take(left), early_stop or 0.0).points
        return restore_type(ep.from_numpy(tensor, points))

    def search(self, network: Network, task: Task, enough: float) -> Outcome:
        """Attack samples that are classified right; those with a result within `enough` are left alone."""
        found = _Found(self.norm, task)
        targets = min(self.targets, task.logits.shape[1] - 1)
        for restart in range(self.restarts):
            for rank in range(1, targets + 1) if targets else [None]:
                self._walk(network, task, found, rank, enough, random_start=restart > 0)
        self._shorten(network, task, found, enough)
        return Outcome(found.points, found.distances <= (enough or np.inf))

    def _walk(
        self, network: Network, task: Task, found: _Found, rank: int | None, enough: float, random_start: bool
    ) -> None:
        """Run once: towards the class of this rank among the clean logits, or to whichever is nearest."""
        rows = np.flatnonzero(found.distances > enough)
        if not len(rows):
            return
        part = task.take(rows)
        targets = None if rank is None else ranked_class(part.logits, part.labels, rank)
        points = part.clean.reshape(len(rows), -1)
        if random_start:
            radius = np.minimum(found.distances[rows] / 2, WIDEST_START * self._diameter(points.shape[1]))
            with network.only(rows):
                points = balls.random_points(self.norm, network, part.clean, radius).reshape(points.shape)
        failures = np.zeros(len(rows), np.int64)  # of steps out of the class, in a row
        for _ in range(self.steps):
            clean = part.clean.reshape(len(rows), -1)
            with network.only(rows):
                gaps, normals = self._nearest_plane(network, part, points, targets)
                least = np.where(failures == PATIENCE, self.smallest_overshoot, 0)
                points = self._stepped(points, clean, gaps, normals, least)
                logits = network.logits(points.reshape(part.clean.shape))
            fooled = part.fooled(logits)
            failures = np.where((gaps > 0) & ~fooled & (failures < PATIENCE), failures + 1, 0)
            found.note(rows, points, logits, fooled)
            points[fooled] = clean[fooled] + self.backward_step * (points - clean)[fooled]
            going = found.distances[rows] > enough
            if not going.all():
                rows, points, part, failures = rows[going], points[going], part.take(going), failures[going]
                targets = None if targets is None else targets[going]
                if not len(rows):
                    break

    def _nearest_plane(
        self, network: Network, part: Task, points: np.ndarray, targets: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return how far z_other - z_label is from 0 at the points, [R], and its gradient, [R, D].

        `other` is the target, or the class whose linearised boundary is nearest.
        """
        images = points.reshape(part.clean.shape)
        if targets is None:
            gaps, normals = nearest_plane(self.norm, network, images, part.labels, part.logits.shape[1])
        else:
            gaps, normals = plane(network, images, part.labels, targets)
        return np.where(gaps == 0, np.float32(TIE), gaps), normals

    def _stepped(
        self, points: np.ndarray, clean: np.ndarray, gaps: np.ndarray, normals: np.ndarray, least: np.ndarray
    ) -> np.ndarray:
        """Return the mean of steps past the plane from the points and from the clean samples (algorithm 1)."""
        from_clean = gaps + (normals * (points - clean)).sum(axis=1)
        steps = balls.steps_to_hyperplane(
            self.norm,
            np.concatenate([points, clean]),
            np.concatenate([normals, normals]),
            np.concatenate([gaps, from_clean]),
        )
        step, clean_step = steps[: len(points)], steps[len(points) :]
        length, clean_length = balls.lengths(self.norm, step), balls.lengths(self.norm, clean_step)
        bias = np.minimum(length / np.maximum(length + clean_length, balls.TINY), self.largest_bias)[:, None]
        past, clean_past = self._past(step, gaps, least), self._past(clean_step, from_clean, least)
        ahead = (1 - bias) * (points + past * step) + bias * (clean + clean_past * clean_step)
        return np.clip(ahead, 0, 1).astype(np.float32)

    def _past(self, steps: np.ndarray, gaps: np.ndarray, least: np.ndarray) -> np.ndarray:
        """Return the factor [R, 1] by which steps are lengthened, those out of the class to go `least` [R] too far."""
        factors = 1 + least / np.maximum(balls.lengths("linf", steps), balls.TINY)
        return np.where(gaps > 0, np.maximum(self.overshoot, factors), self.overshoot)[:, None].astype(np.float32)

    def _shorten(self, network: Network, task: Task, found: _Found, enough: float) -> None:
        """Search on the segment from each result back to the clean sample, by linear interpolation."""
        rows = np.flatnonzero(np.isfinite(found.distances) & (found.distances > enough))
        if not len(rows):
            return
        part = task.take(rows)
        clean = part.clean.reshape(len(rows), -1).astype(np.float64)
        moves, near, far = found.points[rows].reshape(clean.shape) - clean, np.zeros(len(rows)), np.ones(len(rows))
        near_margins = margin(part.logits, part.labels, part.labels)[0]
        far_margins = margin(found.logits[rows], part.labels, part.labels)[0]
        shares = np.full(len(rows), FINAL_AIM)
        for _ in range(FINAL_STEPS):
            rise = np.maximum(far_margins - near_margins, balls.TINY)
            crossing = near - near_margins / rise * (far - near)
            aim = np.clip(crossing + np.maximum(shares * (far - crossing), FINAL_MARGIN * far), near, far)
            points = np.clip(clean + aim[:, None] * moves, 0, 1).astype(np.float32)
            with network.only(rows):
                logits = network.logits(points.reshape(part.clean.shape))
            fooled, margins = part.fooled(logits), margin(logits, part.labels, part.labels)[0]
            found.note(rows, points, logits, fooled)
            shares = np.where(fooled, FINAL_AIM, 0.5)
            near, near_margins = np.where(fooled, near, aim), np.where(fooled, near_margins, margins)
            far, far_margins = np.where(fooled, aim, far), np.where(fooled, margins, far_margins)

    def _diameter(self, size: int) -> float:
        return 1.0 if self.norm == "linf" else float(np.sqrt(size))


class _Found:
    """The nearest misclassified points so far: `points` [N, ...], their `logits` [N, K] and `distances` [N]."""

    def __init__(self, norm: str, task: Task):
        self.norm, self.clean = norm, task.clean.reshape(len(task), -1)
        self.points, self.logits = task.clean.copy(), task.logits.copy()
        self.distances = np.full(len(task), np.inf)

    def note(self, rows: np.ndarray, points: np.ndarray, logits: np.ndarray, fooled: np.ndarray) -> None:
        """Keep the points [R, D] of these samples that are misclassified and nearer than those before."""
        distances = balls.lengths(self.norm, points.astype(np.float64) - self.clean[rows])
        better = fooled & (distances < self.distances[rows])
        chosen = rows[better]
        self.points[chosen] = points[better].reshape(len(chosen), *self.points.shape[1:])
        self.logits[chosen], self.distances[chosen] = logits[better], distances[better]


def build(
    norm: str,
    *,
    steps: int,
    targets: int,
    restarts: int,
    largest_bias: float,
    overshoot: float,
    backward_step: float,
    smallest_overshoot: float,
) -> Attack:
    """Return the attack; `largest_bias`, `overshoot` and `backward_step` are alpha_max, eta and beta of the paper."""
    return FAB(
        norm,
        steps=steps,
        targets=targets,
        restarts=restarts,
        largest_bias=largest_bias,
        overshoot=overshoot,
        backward_step=backward_step,
        smallest_overshoot=smallest_overshoot,
    )
