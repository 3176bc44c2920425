"""Which defended networks are worth what they cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qnn_robustness.evaluation.worst_case import with_adaptive

PIPELINE = ["model", "training", "preprocessor", "precision"]
COMPARED = ["model", "norm", "budget", "samples"]


def cost_and_robustness(costs: pd.DataFrame, defenses: pd.DataFrame) -> pd.DataFrame:
    """Return worst-case robust accuracy beside cost, each target on its first kernel set.

    `adaptive`: some attack was made on this very pipeline; without one its robustness says little. pareto: no other
    pipeline of the model costs at most as much work (macs + operations), flash and arena and is at least as robust
    at this budget, with one of these better. Compared are pipelines that met adaptive attacks and are not masked,
    with those that count as many samples; False for the others, and where the work is not known.
    """
    defenses = defenses.rename(columns={"target": "precision"})
    worst = with_adaptive(defenses, [*PIPELINE, "kernels", "norm", "budget"])
    worst = worst.drop_duplicates([*PIPELINE, "norm", "budget"])
    table = worst.merge(costs, on=PIPELINE, validate="many_to_one")
    table["work"] = table["macs"] + table["operations"]
    table["pareto"] = False
    for _, rows in table[table["adaptive"] & ~table["masked"].eq(True)].groupby(COMPARED, sort=False):
        table.loc[rows.index, "pareto"] = ~_dominated(rows[["work", "flash", "arena"]], rows["accuracy"])
    table["pareto"] &= table["work"].notna()
    return table


def _dominated(costs: pd.DataFrame, accuracy: pd.Series) -> np.ndarray:
    values = np.column_stack([costs.to_numpy(float), -accuracy.to_numpy(float)])
    no_worse = (values[:, None] <= values[None]).all(axis=2)  # [other, pipeline]
    better = (values[:, None] < values[None]).any(axis=2)
    return (no_worse & better).any(axis=0)
