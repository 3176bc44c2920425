"""The margins on the grids around samples."""

from __future__ import annotations

import pandas as pd

COLUMNS = ["model", "training", "sample", "precision", "along_gradient", "along_random", "margin"]


def table(surfaces: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as they are: margins for each network, sample, precision and point."""
    return surfaces[COLUMNS]
