"""The uint8 lattice: adversarial samples that are real 8-bit images within their budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from qnn_robustness.common.distances import distance

TOLERANCE = 1e-9
ON_THE_SPHERE = 1e-5  # how far float32 may carry a point beyond the budget that it was projected to
STRETCHES = np.concatenate([np.arange(1.0, 2.0, 0.1), np.arange(2.0, 4.0, 0.25), 2.0 ** np.arange(2, 7)])
REPAIR = 4.0  # by how much a perturbation may be stretched that rounding did not undo by itself


def searched(norm: str, budget: float) -> float:
    """Return the budget within which an attack looks for what is to be within `budget` on the lattice.

    For Linf it is the whole levels: what goes further is rounded up to a level more, which the repair takes back.
    """
    return float(np.floor(budget * 255.0 + TOLERANCE) / 255.0) if norm == "linf" else budget


def on_lattice(samples: np.ndarray) -> np.ndarray:
    """Return inputs in [0, 1] rounded to the nearest 8-bit level, as uint8."""
    return np.rint(np.clip(samples, 0.0, 1.0) * 255.0).astype(np.uint8)


def within_budget(
    adversarial: np.ndarray,
    clean: np.ndarray,
    norm: str,
    budget: float,
    is_adversarial: Callable[[np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Return 8-bit images near `adversarial` (float [N, ...]) within `budget` of `clean` (uint8 [N, ...]).

    Rounding lengthens a perturbation, and bringing it back may lose the example: `is_adversarial` (uint8 [N, ...] ->
    bool [N]) is asked about each of `repairs`, and the first one that holds is taken, otherwise the first one. The
    second result tells where one held.
    """
    result, found = clean.copy(), np.zeros(len(clean), bool)
    for place, candidate in enumerate(repairs(adversarial, clean, norm, budget)):
        success = is_adversarial(candidate) & ~found
        taken = success | (place == 0)
        result[taken], found = candidate[taken], found | success
        if found.all():
            break
    return result, found


def repairs(adversarial: np.ndarray, clean: np.ndarray, norm: str, budget: float) -> Iterator[np.ndarray]:
    """Yield 8-bit images within `budget` of `clean`, those nearest to `adversarial` first.

    For Linf there is one, the `nearest`. For L1 and L2 the perturbation is then shortened as a whole, until its rounded
    version fits.
    """
    yield nearest(adversarial, clean, norm, budget)
    if norm != "linf":
        yield _shortened(on_lattice(adversarial), adversarial, clean, norm, budget)


def nearest(adversarial: np.ndarray, clean: np.ndarray, norm: str, budget: float) -> np.ndarray:
    """Return 8-bit images within `budget` of `clean`, as near to `adversarial` as is quickly found.

    For Linf it is the rounded image, clipped to whole levels. For L1 and L2 the values are lowered that were rounded
    away from the clean ones most.
    """
    rounded = on_lattice(adversarial)
    if norm == "linf":
        levels = round(searched(norm, budget) * 255)
        signed = clean.astype(np.int16)
        return np.clip(rounded, np.maximum(signed - levels, 0), np.minimum(signed + levels, 255)).astype(np.uint8)
    far = distance(norm, rounded, clean) > budget + TOLERANCE
    if far.any():
        lowered = _lowered(adversarial[far], clean[far], norm, budget)
        # one level a value may not be enough
        rounded[far] = _shortened(lowered, lowered / 255.0, clean[far], norm, budget)
    return rounded


def as_stored(points: np.ndarray, clean: np.ndarray, norm: str, budget: float) -> np.ndarray:
    """Return `points` (float [N, ...]) as the 8-bit images that would be stored of them.

    A search that asks about these finds nothing that is lost in the repair: rounded points of an L2 sphere lie beyond
    it. Points beyond the budget, as some searches ask about on their way, are merely rounded.
    """
    images = on_lattice(points)
    inside = distance(norm, points, clean / 255.0) <= budget + ON_THE_SPHERE
    if inside.any():
        images[inside] = nearest(points[inside], clean[inside], norm, budget)
    return images


def _lowered(adversarial: np.ndarray, clean: np.ndarray, norm: str, budget: float) -> np.ndarray:
    """Return the rounded images with the perturbation of some values a level smaller, as many as the budget asks."""
    wanted = (np.clip(adversarial, 0.0, 1.0) * 255.0 - clean).reshape(len(clean), -1)
    levels = whole_levels(wanted, norm, budget * 255)
    return (clean.reshape(levels.shape) + levels).astype(np.uint8).reshape(clean.shape)


def whole_levels(wanted: np.ndarray, norm: str, limit: float | np.ndarray) -> np.ndarray:
    """Return perturbations [N, D] in levels as whole levels of a length (l2 or l1) of at most `limit` ([N, 1] or one).

    They are rounded, and some values lowered by a level towards zero. Lowering a perturbation of r levels saves
    2 |r| - 1 of the squared length (1 of the L1 length) and goes away from what was wanted. Those which cost least for
    what they save come first. Where one level a value is not enough, the result is longer.
    """
    levels = np.rint(wanted)
    sizes = np.abs(levels)
    saved = np.where(levels == 0, 0.0, 2 * sizes - 1 if norm == "l2" else 1.0)
    cost = 1 + 2 * np.sign(levels) * (wanted - levels)
    order = np.argsort(np.where(saved > 0, cost / np.maximum(saved, 1), np.inf), axis=1, kind="stable")
    length, limit = (sizes**2, np.square(limit)) if norm == "l2" else (sizes, limit)
    savings = np.take_along_axis(saved, order, axis=1)
    still_missing = length.sum(axis=1, keepdims=True) - (np.cumsum(savings, axis=1) - savings) - limit
    lower = np.zeros(levels.shape, bool)
    np.put_along_axis(lower, order, (still_missing > TOLERANCE) & (savings > 0), axis=1)
    return levels - np.sign(levels) * lower


def _shortened(rounded: np.ndarray, adversarial: np.ndarray, clean: np.ndarray, norm: str, budget: float) -> np.ndarray:
    """Return `rounded` where it is within the budget, and otherwise the longest part of the perturbation that is."""
    result, start = rounded.copy(), clean / 255.0
    for share in np.linspace(1.0, 0.0, 101):
        outside = distance(norm, result, clean) > budget + TOLERANCE
        if not outside.any():
            break
        result[outside] = on_lattice(start[outside] + share * (adversarial[outside] - start[outside]))
    return result


def smallest_on_lattice(
    adversarial: np.ndarray, clean: np.ndarray, is_adversarial: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return 8-bit images near `adversarial` (float [N, ...]) that are adversarial, and which ones are.

    Rounding may undo a small perturbation. Then the perturbation of the sample is stretched step by step
    and rounded again until `is_adversarial` (uint8 [N, ...] -> bool [N]) holds: up to four times, or until its
    largest value is a whole level. A sample for which it never does comes back clean: what lies farther is no
    repair of an attack's answer, but another answer.
    """
    start = clean / 255.0
    largest = np.abs(adversarial - start).reshape(len(clean), -1).max(axis=1)
    limits = np.maximum(REPAIR, np.divide(1 / 255, largest, out=np.zeros_like(largest), where=largest > 0))
    result, found = clean.copy(), np.zeros(len(clean), bool)
    for stretch in STRETCHES:
        candidate = on_lattice(start + stretch * (adversarial - start))
        success = is_adversarial(candidate) & ~found & (stretch <= limits)
        result[success], found = candidate[success], found | success
        if found.all():
            break
    return result, found
