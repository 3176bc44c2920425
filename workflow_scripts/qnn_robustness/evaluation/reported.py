"""Which rows of tables and records stand for others, and count."""

from __future__ import annotations

import pandas as pd


def reported(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows on the kernel set in which each target is reported: the first that the table names.

    Tables keep the order of `kernels` in the configuration.
    """
    first = table.drop_duplicates("target").set_index("target")["kernels"]
    return table[table["kernels"] == table["target"].map(first)]


def counted(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records that count together: of the sound protocol, on the 8-bit lattice for models attacked there."""
    on_lattice = records["lattice"] == "uint8"
    of_images = on_lattice.groupby(records["model"], observed=True).transform("any").astype(bool)
    return records[(records["protocol"] == "sound") & (on_lattice | ~of_images)]
