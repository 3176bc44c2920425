"""Intervals and tests for shares of samples."""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

Z_95 = float(stats.norm.ppf(0.975))
# How two settings, `first` and `second`, are compared.
PAIR = [
    "first",
    "second",
    "samples",
    "first_accuracy",
    "second_accuracy",
    "difference",
    "ci_low",
    "ci_high",
    "p_value",
]


def wilson(successes: int, samples: int, z: float = Z_95) -> tuple[float, float]:
    """Return Wilson's score interval of a share (Wilson 1927), by default at 95 %; (nan, nan) without samples."""
    if samples == 0:
        return float("nan"), float("nan")
    share = successes / samples
    centre = share + z * z / (2 * samples)
    half = z * np.sqrt(share * (1 - share) / samples + z * z / (4 * samples * samples))
    scale = 1 + z * z / samples
    low, high = float((centre - half) / scale), float((centre + half) / scale)
    # exact at the ends, which rounding would miss by some 1e-18
    return low if successes else 0.0, high if successes < samples else 1.0


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


def compared_pair(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Compare two settings on the same samples, given which stay right (bool [N]) in each: the columns of PAIR."""
    difference, low, high = paired_difference(first, second)
    return {
        "samples": len(first),
        "first_accuracy": first.mean() if len(first) else np.nan,
        "second_accuracy": second.mean() if len(second) else np.nan,
        "difference": difference,
        "ci_low": low,
        "ci_high": high,
        "p_value": mcnemar(first, second),
    }


def bootstrap_mean(values: np.ndarray, resamples: int = 2000) -> tuple[float, float]:
    """Return the 95 % percentile interval of a mean (Efron 1979) of one value a sample, always from the same draws."""
    if len(values) == 0:
        return float("nan"), float("nan")
    draws = np.random.default_rng(0).integers(0, len(values), (resamples, len(values)))
    low, high = np.quantile(np.asarray(values, np.float64)[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def median_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Return the distribution-free interval of a median: two order statistics, by inverting the sign test.

    It covers at least `confidence`; with fewer than six values it is unbounded, without any nan. Infinite values are
    allowed.
    """
    ordered, count = np.sort(np.asarray(values, np.float64)), len(values)
    if count == 0:
        return float("nan"), float("nan")
    left_out = int(stats.binom.ppf((1 - confidence) / 2, count, 0.5))
    if stats.binom.cdf(left_out, count, 0.5) > (1 - confidence) / 2:
        left_out -= 1  # as many values as may be left out on each side
    if left_out < 0:
        return float("-inf"), float("inf")
    return float(ordered[left_out]), float(ordered[count - 1 - left_out])


def sign_test(first: np.ndarray, second: np.ndarray) -> float:
    """Return the two-sided p-value of the exact sign test for paired values; ties are left out, infinity compares."""
    larger, smaller = int((first > second).sum()), int((first < second).sum())
    return float(stats.binomtest(larger, larger + smaller).pvalue) if larger + smaller else 1.0


def wilcoxon(first: np.ndarray, second: np.ndarray) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test (1945) on finite pairs; equal ones are left out."""
    finite = np.isfinite(first) & np.isfinite(second)
    difference = first[finite] - second[finite]
    return float(stats.wilcoxon(difference).pvalue) if difference.any() else 1.0


def auc(scores: np.ndarray, positive: np.ndarray, z: float = Z_95) -> tuple[float, float, float]:
    """Return the area under the ROC curve with its 95 % interval (Newcombe 2006, method 5).

    It is the chance that a positive sample scores above a negative one, ties counting half; nan without either. The
    interval holds the areas from which the one found is within `z` of Hanley and McNeil's standard errors (1982), so
    that it has a width at 0 and 1 too.
    """
    first, second = scores[positive], scores[~positive]
    if not len(first) or not len(second):
        return float("nan"), float("nan"), float("nan")
    pairs, extra = len(first) * len(second), (len(first) + len(second)) / 2 - 1
    area = float(stats.mannwhitneyu(first, second).statistic) / pairs

    def beyond(true: float) -> float:
        variance = true * (1 - true) * (1 + extra * ((1 - true) / (2 - true) + true / (1 + true))) / pairs
        return abs(true - area) - z * float(np.sqrt(variance))

    near = 1e-9
    low = optimize.brentq(beyond, 0, area - near) if area > near else 0.0
    high = optimize.brentq(beyond, area + near, 1) if area < 1 - near else 1.0
    return area, float(low), float(high)
