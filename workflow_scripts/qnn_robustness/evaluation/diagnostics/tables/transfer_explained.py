"""How well alignment, quantization shift and distance tell which adversarial samples transfer."""

from __future__ import annotations

import pandas as pd

from qnn_robustness.evaluation.statistics import auc

KEYS = ["model", "training", "source", "target", "attack", "budget"]
# What explains success, and the sign with which it should: a farther boundary makes transfer harder.
EXPLANATIONS = {"cosine": 1, "sign_agreement": 1, "gain": 1, "distance": -1}
COLUMNS = [*KEYS, "explanation", "samples", "successes", "auc", "auc_low", "auc_high"]


def table(transfer: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each setting and explanation: the area under the ROC curve with its interval.

    It is the chance that a sample that transfers has more of the explanation (for distance: less) than one that does
    not; 0.5 explains nothing. `samples` fool the source and have the explanation, `successes` of them fool the target.
    """
    rows = []
    for key, group in transfer.groupby(KEYS, sort=False):
        for explanation, sign in EXPLANATIONS.items():
            known = group.dropna(subset=explanation)
            positive = known["success"].to_numpy(bool)
            area, low, high = auc(sign * known[explanation].to_numpy(), positive)
            row = {
                "samples": len(known),
                "successes": int(positive.sum()),
                "auc": area,
                "auc_low": low,
                "auc_high": high,
            }
            rows.append(dict(zip(KEYS, key, strict=True)) | {"explanation": explanation} | row)
    return pd.DataFrame(rows, columns=COLUMNS)
