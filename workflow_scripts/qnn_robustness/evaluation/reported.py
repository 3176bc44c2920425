"""Which rows of a table stand for a precision that was evaluated on several kernel sets."""

from __future__ import annotations

import pandas as pd


def reported(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows on the kernel set in which each target is reported: the first that the table names.

    Tables keep the order of `kernels` in the configuration.
    """
    first = table.drop_duplicates("target").set_index("target")["kernels"]
    return table[table["kernels"] == table["target"].map(first)]
