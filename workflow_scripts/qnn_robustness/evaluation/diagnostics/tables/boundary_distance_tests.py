"""Paired comparison of the distances to the boundary of two precisions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from qnn_robustness.evaluation.diagnostics.tables import boundary_distance
from qnn_robustness.evaluation.statistics import median_interval, sign_test, wilcoxon

KEYS = ["model", "training", "lattice", "norm"]
PRECISIONS = ("float32", "int16", "int8")
COLUMNS = [
    *KEYS, "first", "second", "samples", "first_median", "second_median", "first_failed", "second_failed",
    "difference", "difference_low", "difference_high", "farther", "nearer", "sign_test_p", "wilcoxon_p",
]  # fmt: skip
DECIMALS = 9  # differences of distances on the uint8 lattice are equal, or differ by far more


def table(distances: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each network, norm and pair of precisions, over the samples of the table boundary_distance.

    difference: median of second - first with its distribution-free interval; farther and nearer: shares of samples that
    are farther from and nearer to the boundary of the second (the rest are equal); two-sided p-values of the sign test
    (which holds where some attack failed) and of Wilcoxon's signed-rank test (finite distances only).
    """
    wide, rows = boundary_distance.table(distances), []
    for key, group in wide.groupby(KEYS, sort=False):
        for first, second in combinations([name for name in PRECISIONS if name in group], 2):
            pairs = group[[first, second]].dropna().to_numpy()
            rows.append(dict(zip(KEYS, key, strict=True)) | {"first": first, "second": second} | _compared(pairs))
    return pd.DataFrame(rows, columns=COLUMNS)


def _compared(pairs: np.ndarray) -> dict[str, float]:
    first, second = pairs.T
    with np.errstate(invalid="ignore"):
        difference = second - first
    difference[np.isinf(first) & np.isinf(second)] = 0
    difference = difference.round(DECIMALS)
    low, high = median_interval(difference)
    return {
        "samples": len(pairs),
        "first_median": _median(first),
        "second_median": _median(second),
        "first_failed": _share(np.isinf(first)),
        "second_failed": _share(np.isinf(second)),
        "difference": _median(difference),
        "difference_low": low,
        "difference_high": high,
        "farther": _share(difference > 0),
        "nearer": _share(difference < 0),
        "sign_test_p": sign_test(difference, np.zeros_like(difference)),
        "wilcoxon_p": wilcoxon(difference, np.zeros_like(difference)),
    }


def _share(chosen: np.ndarray) -> float:
    return float(chosen.mean()) if len(chosen) else float("nan")


def _median(values: np.ndarray) -> float:
    """Return the median; the lower of the two middle values, so that infinite ones cannot make it undefined."""
    return float(np.quantile(values, 0.5, method="lower")) if len(values) else float("nan")
