"""The success of transferred samples in quarters of what may explain it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qnn_robustness.evaluation.diagnostics.tables.transfer_explained import EXPLANATIONS, KEYS
from qnn_robustness.evaluation.statistics import wilson

BINS = 4
COLUMNS = [*KEYS, "explanation", "bin", "low", "high", "samples", "success_rate", "ci_low", "ci_high"]


def table(transfer: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each setting, explanation and quarter of the samples by rising explanation.

    low, high: its least and largest explanation. success_rate with Wilson's interval. Equal values may fall into two
    quarters, in the order of the samples.
    """
    rows = []
    for key, group in transfer.groupby(KEYS, sort=False):
        for explanation in EXPLANATIONS:
            known = group.dropna(subset=explanation).sort_values([explanation, "sample"])
            quarter = np.arange(len(known)) * BINS // max(len(known), 1)
            for number, part in known.groupby(quarter):
                low, high = wilson(int(part["success"].sum()), len(part))
                ends = {"low": part[explanation].iloc[0], "high": part[explanation].iloc[-1]}
                rates = {"success_rate": part["success"].mean(), "ci_low": low, "ci_high": high}
                row = {"explanation": explanation, "bin": number + 1, **ends, "samples": len(part), **rates}
                rows.append(dict(zip(KEYS, key, strict=True)) | row)
    return pd.DataFrame(rows, columns=COLUMNS)
