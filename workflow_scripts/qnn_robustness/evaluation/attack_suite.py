"""All attacks of a run side by side, as text: what each leaves of each precision."""

from __future__ import annotations

import pandas as pd

UNDEFENDED = "none"
ROW = ["model", "training", "attack", "protocol", "access", "norm"]


def attack_suite(robust: pd.DataFrame, reported_kernels: dict[str, str]) -> pd.DataFrame:
    """Return one row for each attack on an undefended network, with a column for each precision.

    robust: the table robust_accuracy. A cell holds the accuracy in per cent for each of the budgets; for attacks that
    minimise, the accuracy and (the median distortion of the successes in the attack's norm), if any. Samples were
    crafted on the precision itself where the run has such, and otherwise on float32, which is marked by an arrow.
    Precisions are scored on their `reported_kernels`; seeds are averaged.
    """
    robust = robust[robust["kernels"] == robust["target"].map(reported_kernels)]
    robust = robust[(robust["preprocessor"] == UNDEFENDED) & (robust["through"] == UNDEFENDED)]
    targets = sorted(set(robust["target"]))
    rows = []
    for key, group in robust.groupby(ROW, sort=False):
        budgets = group[["budget", "levels"]].drop_duplicates().dropna(how="all")
        cells = {target: _cell(group[group["target"] == target], target) for target in targets}
        rows.append(
            {
                **dict(zip(ROW, key, strict=True)),
                "budgets": ", ".join(_budget(*row) for row in budgets.itertuples(index=False)) or "minimal",
                "samples": group["samples"].iloc[0],
                **cells,
            }
        )
    return pd.DataFrame(rows, columns=[*ROW, "budgets", "samples", *targets])


def _budget(budget: float, levels: float) -> str:
    return f"{budget:g}" if pd.isna(levels) else f"{levels:.4g}/255"


def _cell(rows: pd.DataFrame, target: str) -> str:
    own = rows[rows["source"] == target]
    chosen = own if len(own) else rows[rows["source"] == "float32"]
    if not len(chosen):
        return ""
    means = chosen.groupby("budget", dropna=False, sort=False)[["accuracy", "median_distortion"]].mean()
    text = " / ".join(f"{accuracy:.1f}" for accuracy in means["accuracy"] * 100)
    if chosen["budget"].isna().all():
        median = means["median_distortion"].iloc[0]
        text += "" if pd.isna(median) else f" ({median:.3g})"
    return text if len(own) else f"→ {text}"
