"""The distance of every sample to the boundary of every precision, side by side."""

from __future__ import annotations

import pandas as pd

KEYS = ["model", "training", "lattice", "norm", "sample"]


def table(distances: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each network, norm and sample: attacks tried (on each), and the distance on each precision.

    Only samples that all precisions classify right when clean; a distance is infinite where no attack succeeded.
    """
    chosen = distances[distances.groupby(KEYS)["correct"].transform("all")]
    wide = chosen.pivot_table(index=KEYS, columns="precision", values="distance", aggfunc="min")
    wide.insert(0, "attacks", chosen.groupby(KEYS)["attacks"].min())
    return wide.reset_index().rename_axis(columns=None)
