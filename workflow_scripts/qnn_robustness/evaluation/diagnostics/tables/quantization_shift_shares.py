"""How much of what quantization does to a perturbation is mere rounding of the input."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qnn_robustness.evaluation.diagnostics.tables.quantization_shift import decibels
from qnn_robustness.evaluation.statistics import bootstrap_mean, median_interval

KEYS = ["model", "training", "precision", "direction", "size"]


def table(shift: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each perturbation and integer precision, for the logits.

    gain: by how much the integer network changes the effect of the perturbation (dB, median over samples, with its
    interval; negative: attenuated, minus infinity: gone). gain_rounding is the part of float32 on the rounded input,
    gain_network the rest; for each sample the two sum to the gain. rounding_share: mean share of the squared deviation
    from float32 that is due to rounding the input, r^2 / (r^2 + n^2), where r is the deviation of float32 on the
    rounded input and n that of the integer network from there.
    """
    last = shift.groupby(["model", "training"])["place"].transform("max")
    logits = shift[shift["place"] == last]
    rows = []
    for key, group in logits.groupby(KEYS, sort=False):
        row = dict(zip(KEYS, key, strict=True)) | {"samples": len(group)}
        parts = {
            "gain": decibels(group["noise"], group["noise_float32"]),
            "gain_rounding": decibels(group["noise_rounded"], group["noise_float32"]),
            "gain_network": decibels(group["noise"], group["noise_rounded"]),
        }
        for name, gains in parts.items():
            known = gains.dropna().to_numpy()
            low, high = median_interval(known)
            median = float(np.quantile(known, 0.5, method="nearest")) if len(known) else np.nan
            row |= {name: median, f"{name}_low": low, f"{name}_high": high}
        squares = group["deviation_rounding"] ** 2, group["deviation_network"] ** 2
        shares = (squares[0] / (squares[0] + squares[1])).dropna().to_numpy()
        low, high = bootstrap_mean(shares)
        mean = shares.mean() if len(shares) else np.nan
        rows.append(row | {"rounding_share": mean, "rounding_share_low": low, "rounding_share_high": high})
    return pd.DataFrame(rows)
