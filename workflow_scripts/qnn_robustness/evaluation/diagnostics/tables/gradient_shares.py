"""The shares of zero, tiny and huge gradients."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qnn_robustness.evaluation.diagnostics.tables.gradient_magnitudes import KEYS
from qnn_robustness.evaluation.statistics import bootstrap_mean

# Powers of ten, for a loss of order 1 to 10 and inputs in [0, 1]. Below the first, crossing the whole range of an input
# changes the loss by less than a millionth; from the second on, one 8-bit level of one input value among thousands
# changes it by 0.04 or more.
TINY, HUGE = -6, 1


def table(gradients: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each setting.

    zero, tiny (below 1e-6, not zero) and huge (at least 10): mean share of the gradients of a sample, with bootstrap
    intervals over samples. dead_samples: share of samples all of whose gradients are zero. values: gradients a sample.
    """
    classed = gradients.assign(
        zero=gradients["count"].where(np.isneginf(gradients["decade"]), 0),
        tiny=gradients["count"].where(np.isfinite(gradients["decade"]) & (gradients["decade"] < TINY), 0),
        huge=gradients["count"].where(gradients["decade"] >= HUGE, 0),
    )
    samples = classed.groupby([*KEYS, "sample"], sort=False)[["count", "zero", "tiny", "huge"]].sum()
    rows = [_row(key, group) for key, group in samples.groupby(KEYS, sort=False)]
    return pd.DataFrame(rows)


def _row(key: tuple, samples: pd.DataFrame) -> dict[str, object]:
    row = dict(zip(KEYS, key, strict=True)) | {"samples": len(samples), "values": int(samples["count"].iloc[0])}
    for kind in ("zero", "tiny", "huge"):
        shares = (samples[kind] / samples["count"]).to_numpy()
        low, high = bootstrap_mean(shares)
        row |= {kind: shares.mean(), f"{kind}_low": low, f"{kind}_high": high}
    return row | {"dead_samples": float((samples["zero"] == samples["count"]).mean())}
