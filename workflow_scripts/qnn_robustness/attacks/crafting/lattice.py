"""The uint8 lattice: adversarial samples that are real 8-bit images within their budget."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qnn_robustness.common.distances import distance

TOLERANCE = 1e-9
STRETCHES = np.concatenate([np.arange(1.0, 2.0, 0.1), np.arange(2.0, 4.0, 0.25), 2.0 ** np.arange(2, 7)])


def on_lattice(samples: np.ndarray) -> np.ndarray:
    """Return inputs in [0, 1] rounded to the nearest 8-bit level, as uint8."""
    return np.rint(np.clip(samples, 0.0, 1.0) * 255.0).astype(np.uint8)


def within_budget(adversarial: np.ndarray, clean: np.ndarray, norm: str, budget: float) -> np.ndarray:
    """Return 8-bit images near `adversarial` (float [N, ...]) within `budget` of `clean` (uint8 [N, ...]).

    For Linf the rounded image is clipped to whole levels. For other norms the perturbation is shortened
    until its rounded version is inside; the image nearest to the wanted one that fits is kept.
    """
    rounded = on_lattice(adversarial)
    if norm == "linf":
        levels = int(np.floor(budget * 255.0 + TOLERANCE))
        signed = clean.astype(np.int16)
        return np.clip(rounded, np.maximum(signed - levels, 0), np.minimum(signed + levels, 255)).astype(np.uint8)
    start = clean / 255.0
    for share in np.linspace(1.0, 0.0, 101):
        outside = distance(norm, rounded, clean) > budget + TOLERANCE
        if not outside.any():
            break
        rounded[outside] = on_lattice(start[outside] + share * (adversarial[outside] - start[outside]))
    return rounded


def smallest_on_lattice(
    adversarial: np.ndarray, clean: np.ndarray, is_adversarial: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return 8-bit images near `adversarial` (float [N, ...]) that are adversarial, and which ones are.

    Rounding may undo a small perturbation. Then the perturbation of the sample is stretched step by step
    and rounded again until `is_adversarial` (uint8 [N, ...] -> bool [N]) holds; a sample for which it never
    does comes back clean.
    """
    start = clean / 255.0
    result, found = clean.copy(), np.zeros(len(clean), bool)
    for stretch in STRETCHES:
        candidate = on_lattice(start + stretch * (adversarial - start))
        success = is_adversarial(candidate) & ~found
        result[success], found = candidate[success], found | success
        if found.all():
            break
    return result, found
