"""Records of the vote of the three precisions, from their own records: no network is run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from qnn_robustness.common.vote import MEMBERS, VOTE, joined, majority

POINT = ["seed", "budget", "sample"]


def clean_vote(records: Mapping[str, pd.DataFrame], kernels: Sequence[str]) -> pd.DataFrame:
    """Return the clean records of the vote, from those of each of the `MEMBERS`, on their `kernels`.

    Columns are those of clean records; `tie` says where all three differ.
    """
    aligned = _aligned(records, kernels, ["sample"])
    prediction, split = majority(*(rows["prediction"].to_numpy() for rows in aligned))
    first = aligned[0]
    changed = {"prediction": prediction, "correct": prediction == first["label"], "tie": split}
    return first.assign(**changed, kernels=joined(kernels), precision=VOTE)


def adversarial_vote(records: Mapping[str, pd.DataFrame], clean: pd.DataFrame, kernels: Sequence[str]) -> pd.DataFrame:
    """Return the records of the vote under one attack, from those of each of the `MEMBERS` under the same one.

    `clean` are the clean records of the vote. Columns are those of adversarial records; `adversarial_tie` says where
    all three differ.
    """
    aligned = _aligned(records, kernels, POINT)
    prediction, split = majority(*(rows["adversarial_prediction"].to_numpy() for rows in aligned))
    first = aligned[0]
    changed = {
        "target_correct": clean.set_index("sample").loc[first["sample"], "correct"].to_numpy(),
        "adversarial_prediction": prediction,
        "adversarial_correct": prediction == first["label"],
        "adversarial_tie": split,
    }
    return first.assign(**changed, kernels=joined(kernels), target=VOTE)


def _aligned(records: Mapping[str, pd.DataFrame], kernels: Sequence[str], keys: list[str]) -> list[pd.DataFrame]:
    """Return the records of the members on their kernel sets, rows in the same order."""
    parts = []
    for member, name in zip(MEMBERS, kernels, strict=True):
        rows = records[member]
        parts.append(rows[rows["kernels"] == name].sort_values(keys, ignore_index=True))
    first = parts[0][keys].to_numpy(float)
    for member, rows in zip(MEMBERS[1:], parts[1:], strict=True):
        if not np.array_equal(rows[keys].to_numpy(float), first, equal_nan=True):
            raise ValueError(f"the records of {member} are not of the samples of those of {MEMBERS[0]}")
    return parts
