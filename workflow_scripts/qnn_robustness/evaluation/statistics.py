"""Intervals and tests for shares of samples."""

from __future__ import annotations

import numpy as np
from scipy import stats

Z_95 = float(stats.norm.ppf(0.975))


def wilson(successes: int, samples: int, z: float = Z_95) -> tuple[float, float]:
    """Return Wilson's score interval of a share (Wilson 1927), by default at 95 %; (nan, nan) without samples."""
    if samples == 0:
        return float("nan"), float("nan")
    share = successes / samples
    centre = share + z * z / (2 * samples)
    half = z * np.sqrt(share * (1 - share) / samples + z * z / (4 * samples * samples))
    scale = 1 + z * z / samples
    return max(0.0, float((centre - half) / scale)), min(1.0, float((centre + half) / scale))


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Return the two-sided p-value of McNemar's exact test (McNemar 1947) for paired outcomes (bool [N])."""
    only_first = int((first & ~second).sum())
    only_second = int((~first & second).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second).pvalue)


def paired_difference(first: np.ndarray, second: np.ndarray, z: float = Z_95) -> tuple[float, float, float]:
    """Return the difference of two paired shares (first - second) with its 95 % interval.

    Newcombe (1998), method 10: Wilson's intervals combined with the correlation of the pairs.
    """
    samples = len(first)
    if samples == 0:
        return float("nan"), float("nan"), float("nan")
    a, b = int((first & second).sum()), int((first & ~second).sum())
    c, d = int((~first & second).sum()), int((~first & ~second).sum())
    p, q = (a + b) / samples, (a + c) / samples
    (p_low, p_high), (q_low, q_high) = wilson(a + b, samples, z), wilson(a + c, samples, z)
    product = (a + b) * (c + d) * (a + c) * (b + d)
    phi = 0.0
    if product:
        cross = a * d - b * c
        cross = max(cross - samples / 2, 0) if cross > 0 else cross
        phi = cross / np.sqrt(product)
    down, up = p - p_low, q_high - q
    low = p - q - np.sqrt(max(down**2 - 2 * phi * down * up + up**2, 0.0))
    down, up = q - q_low, p_high - p
    high = p - q + np.sqrt(max(down**2 - 2 * phi * down * up + up**2, 0.0))
    return p - q, float(low), float(high)
