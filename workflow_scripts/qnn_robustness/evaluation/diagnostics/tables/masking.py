"""Signs of gradient masking in the records: attacks without gradients, or from elsewhere, that beat white-box ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qnn_robustness.common.distances import NORMS, SAME
from qnn_robustness.evaluation.reported import counted
from qnn_robustness.evaluation.statistics import mcnemar, wilson

KEYS = ["model", "training", "target", "norm"]
COLUMNS = [
    *KEYS,
    "against",
    "samples",
    "nearer",
    "nearer_low",
    "nearer_high",
    "only_other",
    "only_white_box",
    "p_value",
]


def table(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each network, target precision, norm and kind of attack that is compared with white-box ones.

    Compared are, on the samples that both attacked and that the target classifies right when clean, the nearest
    adversarial samples found with the target's own gradients and those found otherwise: by `black_box` attacks on the
    target, or `transferred` from another precision (white-box there). nearer: share of samples where the other found a
    nearer one or the only one, with Wilson's interval. only_other, only_white_box: samples that only one of the two
    fooled at all, with McNemar's exact p-value. Undefended networks, each target on its first kernel set; records that
    count (evaluation.reported), in those distances (a ratio of signal to noise is none) in which a white-box attack
    works. A sample that white-box attacks met within budgets alone is compared at these budgets: what lies between
    them, or beyond the largest, they did not look for. The two sides may have been attacked by different methods:
    another that is nearer is a sign of masking, none that is nearer is no proof of its absence.
    """
    records = records[(records["preprocessor"] == "none") & (records["through"] == "none")]
    records = counted(records[records["norm"].isin(NORMS)])
    first = records.drop_duplicates("target").set_index("target")["kernels"]
    records = records[(records["kernels"] == records["target"].map(first)) & records["target_correct"]]
    own, white = records["source"] == records["target"], records["access"] == "white_box"
    asked = records["kernels"] == records["source_kernels"]  # others round otherwise
    kinds = {"black_box": own & ~white, "transferred": ~own & white}
    rows = []
    for norm in records.loc[own & white & asked, "norm"].unique():
        same = records["norm"] == norm
        white_box = records[own & white & asked & same]
        reference, budgets = _nearest(white_box, norm), _budgets(white_box)
        for kind, chosen in kinds.items():
            other = _nearest(records[chosen & same], norm)
            sides = {"white_box": reference, "other": other, "budgets": budgets}
            both = pd.concat(sides, axis=1, join="inner").reset_index()
            for side in ("white_box", "other"):
                both[side] = [_least(*pair) for pair in zip(both[side], both["budgets"], strict=True)]
            for key, group in both.groupby(KEYS[:3], sort=False):
                found = _compared(group["white_box"].to_numpy(), group["other"].to_numpy())
                rows.append(dict(zip(KEYS, (*key, norm), strict=True)) | {"against": kind} | found)
    return pd.DataFrame(rows, columns=COLUMNS)


def _nearest(records: pd.DataFrame, norm: str) -> pd.Series:
    """Return the distance of the nearest adversarial sample, infinite without one, by network, target and sample."""
    distance = records[norm].where(~records["adversarial_correct"], np.inf)
    return distance.groupby([records[name] for name in (*KEYS[:3], "sample")], sort=False).min()


def _budgets(records: pd.DataFrame) -> pd.Series:
    """Return the budgets at which each sample was attacked, ascending; none where an attack minimised the distance."""
    keys = [records[name] for name in (*KEYS[:3], "sample")]
    return (
        records["budget"]
        .groupby(keys, sort=False)
        .agg(lambda found: () if found.isna().any() else tuple(sorted(found.unique())))
    )


def _least(distance: float, budgets: tuple[float, ...]) -> float:
    """Return the smallest of the budgets that a distance is within, infinite if it is in none; itself without any."""
    return next((budget for budget in budgets if distance <= budget + SAME), np.inf) if budgets else distance


def _compared(white_box: np.ndarray, other: np.ndarray) -> dict[str, float]:
    nearer = int((other < white_box - SAME).sum())
    low, high = wilson(nearer, len(other))
    fooled = np.isfinite(other), np.isfinite(white_box)
    return {
        "samples": len(other),
        "nearer": nearer / len(other),
        "nearer_low": low,
        "nearer_high": high,
        "only_other": int((fooled[0] & ~fooled[1]).sum()),
        "only_white_box": int((~fooled[0] & fooled[1]).sum()),
        "p_value": mcnemar(*fooled),
    }
