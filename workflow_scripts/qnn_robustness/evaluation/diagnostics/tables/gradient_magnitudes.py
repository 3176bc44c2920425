"""How the magnitudes of gradients are distributed: the mean share of each power of ten."""

from __future__ import annotations

import pandas as pd

KEYS = ["model", "training", "loss", "estimator", "precision"]


def table(gradients: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each setting and decade (minus infinity for exact zeros): samples and the mean share."""
    counts = gradients.groupby(KEYS, sort=False, as_index=False).agg(
        samples=("sample", "nunique"), values=("count", "sum")
    )
    decades = gradients.groupby([*KEYS, "decade"], sort=True, as_index=False)["count"].sum()
    decades = counts.merge(decades, on=KEYS)
    decades["share"] = decades["count"] / decades["values"]
    return decades[[*KEYS, "samples", "decade", "share"]]
