"""How well the gradients of two precisions agree."""

from __future__ import annotations

import pandas as pd

from qnn_robustness.evaluation.statistics import median_interval

KEYS = ["model", "training", "loss", "first", "second"]


def table(alignment: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each pair of gradients: median (with its interval) and quartiles over samples.

    `samples` counts those with a cosine: a gradient that is zero has none.
    """
    rows = []
    for key, group in alignment.groupby(KEYS, sort=False):
        row = dict(zip(KEYS, key, strict=True)) | {"samples": int(group["cosine"].notna().sum())}
        for column in ("cosine", "sign_agreement"):
            values = group[column].dropna()
            q1, median, q3 = values.quantile([0.25, 0.5, 0.75])
            low, high = median_interval(values.to_numpy())
            row |= {column: median, f"{column}_low": low, f"{column}_high": high}
            row |= {f"{column}_q1": q1, f"{column}_q3": q3}
        rows.append(row | {"compared": group["compared"].mean()})
    return pd.DataFrame(rows)
