"""The distance of every sample to the boundary of every precision, side by side."""

from __future__ import annotations

import pandas as pd

KEYS = ["model", "training", "lattice", "norm", "sample"]


def table(distances: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each network, norm and sample: attacks tried, and the distance on each precision.

    Only samples that all precisions classify right when clean; a distance is infinite where no attack succeeded.
    """
    right = distances.groupby(KEYS)["correct"].transform("all")
    wide = distances[right].pivot_table(index=[*KEYS, "attacks"], columns="precision", values="distance", aggfunc="min")
    return wide.reset_index().rename_axis(columns=None)
