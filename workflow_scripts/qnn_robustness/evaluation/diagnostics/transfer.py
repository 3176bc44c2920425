"""Transfer between precisions explained (F2, F3): success beside alignment, quantization shift and distance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

REFERENCE = "float32"
POINT = ["source", "attack", "seed", "budget", "sample"]


def measure(records: Mapping[str, pd.DataFrame], *, kernels: Mapping[str, str]) -> pd.DataFrame:
    """Return one row for each transferred adversarial sample, with what may explain its success.

    `records` holds `attacks` (white-box attacks with a budget in Linf, on undefended networks), and the rows of
    `gradient_alignment`, `quantization_shift` and `boundary_distance`. Only samples that source and target classify
    right when clean and that fool the source, of several seeds those of the first. Columns: source, target, attack,
    seed, budget, sample, success (the target is fooled), and

    - cosine, sign_agreement: of the gradients of the margin on source and target, at the clean sample;
    - gain: by how many dB the target feels a perturbation along the gradient more than the source does, at the logits,
      for the measured size nearest to the budget;
    - distance: of the target's boundary (Linf), relative to the budget.
    """
    crafted = _transferred(records["attacks"], kernels)
    rows = crafted.merge(_alignment(records["gradient_alignment"]), on=["source", "target", "sample"], how="left")
    rows = rows.merge(_distances(records["boundary_distance"]), on=["target", "sample"], how="left")
    rows["distance"] = rows["distance"] / rows["budget"]
    return _with_gain(rows, records["quantization_shift"])


def _transferred(records: pd.DataFrame, kernels: Mapping[str, str]) -> pd.DataFrame:
    undefended = (records["preprocessor"] == "none") & (records["through"] == "none")
    records = records[undefended & (records["access"] == "white_box")]
    records = records[records["budget"].notna() & (records["norm"] == "linf")]
    records = records[records["kernels"] == records["target"].map(kernels)].drop_duplicates([*POINT, "target"])
    first = records.groupby("attack")["seed"].transform("first")  # seeds of one sample are no more samples
    records = records[records["seed"] == first]
    own = records["source"] == records["target"]
    fooled = records.loc[own & records["source_correct"] & ~records["adversarial_correct"], POINT]
    rows = records[~own & records["source_correct"] & records["target_correct"]].merge(fooled, on=POINT)
    return rows.assign(success=~rows["adversarial_correct"])[["target", *POINT, "success"]]


def _alignment(alignment: pd.DataFrame) -> pd.DataFrame:
    """Return the agreement of the gradients of the margin in both orders of a pair."""
    rows = alignment[alignment["loss"] == "margin"].rename(columns={"first": "source", "second": "target"})
    rows = rows[["source", "target", "sample", "cosine", "sign_agreement"]]
    return pd.concat([rows, rows.rename(columns={"source": "target", "target": "source"})], ignore_index=True)


def _distances(distances: pd.DataFrame) -> pd.DataFrame:
    rows = distances[distances["norm"] == "linf"].groupby(["precision", "sample"], as_index=False)["distance"].min()
    return rows.rename(columns={"precision": "target"})


def _with_gain(rows: pd.DataFrame, shift: pd.DataFrame) -> pd.DataFrame:
    last = shift[(shift["direction"] == "gradient") & (shift["place"] == shift["place"].max())]
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = last.assign(gain=20 * (np.log10(last["noise"]) - np.log10(last["noise_float32"])))
    gains = gains[["precision", "size", "sample", "gain"]]
    gains = pd.concat([gains, gains.drop_duplicates(["size", "sample"]).assign(precision=REFERENCE, gain=0.0)])
    sizes = np.sort(gains["size"].unique())
    rows["size"] = [sizes[np.abs(sizes - budget).argmin()] for budget in rows["budget"]]
    for end in ("source", "target"):
        renamed = gains.rename(columns={"precision": end, "gain": f"gain_{end}"})
        rows = rows.merge(renamed, on=[end, "size", "sample"], how="left")
    with np.errstate(invalid="ignore"):
        rows["gain"] = rows["gain_target"] - rows["gain_source"]
    return rows.drop(columns=["size", "gain_source", "gain_target"])
