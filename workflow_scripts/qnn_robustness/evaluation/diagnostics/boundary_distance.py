"""Distance to the decision boundary (F1): the smallest perturbation that any minimal-norm attack finds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd


def measure(records: Mapping[str, pd.DataFrame], *, kernels: Mapping[str, str]) -> pd.DataFrame:
    """Return the distance of each sample to the boundary of each precision.

    `records["own"]` are those of minimal-norm attacks on the precision itself, scored on it from the stored samples;
    each precision counts on its kernel set in `kernels`. Columns: precision, norm, lattice, sample, correct (when
    clean), attacks (how many tried), distance (in `norm`; infinite where none succeeded) and attack (which came
    nearest). An upper bound, of course: the best of all attacks, also of those for another norm.
    """
    own = records["own"]
    own = own[(own["source"] == own["target"]) & (own["kernels"] == own["target"].map(kernels))]
    parts = [_nearest(group, norm) for _, group in own.groupby("lattice", sort=False) for norm in own["norm"].unique()]
    columns = ["precision", "norm", "lattice", "sample", "correct", "attacks", "distance", "attack"]
    return pd.concat(parts, ignore_index=True)[columns]


def _nearest(records: pd.DataFrame, norm: str) -> pd.DataFrame:
    tried = records.assign(distance=records[norm].where(~records["adversarial_correct"], np.inf), norm=norm)
    keys = ["target", "sample"]
    best = tried.sort_values("distance", kind="stable").drop_duplicates(keys)
    attacks = tried.groupby(keys)["attack"].nunique().rename("attacks").reset_index()
    best = best.merge(attacks, on=keys).sort_values(keys)
    best["attack"] = best["attack"].where(np.isfinite(best["distance"]), None)
    return best.rename(columns={"target": "precision", "target_correct": "correct"})
