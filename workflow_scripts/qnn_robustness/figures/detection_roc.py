"""Adversarial samples detected against clean samples rejected, one panel for each attack and precision."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qnn_robustness.evaluation.reported import reported
from qnn_robustness.figures.shared import panels, style

TABLES = ("detection_roc",)
ROW = ["model", "training", "attack", "detector"]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table detection_roc, of the first seed of each attack.

    Samples were crafted on the precision itself where there are such, otherwise on float32, or on what there is.
    """
    data = reported(tables["detection_roc"])
    data = _nearest_source(
        data[(data["samples"] > 0) & (data["seed"] == data.groupby("attack")["seed"].transform("min"))]
    )
    if data.empty:
        return panels.empty("No attack succeeded: there is nothing to detect.")
    labels = panels.kernel_labels(data)
    data = data.assign(series=[_series(*pair) for pair in zip(data["budget"], data["norm"], strict=True)])
    looks = style.looks(list(data["series"].unique()))
    rows, targets = data[ROW].drop_duplicates(), style.precision_order(list(labels))
    figure, axes = panels.grid(len(rows), len(targets), "Detected (%)")
    for axis, row, target, panel in panels.filled(axes, data, rows, "target", targets):
        for name, curve in panel.groupby("series", sort=False):
            look = {**looks[name]._asdict(), "marker": ""}
            axis.plot(curve["false_positive_rate"] * 100, curve["detection_rate"] * 100, **look)
        axis.plot([0, 100], [0, 100], color="#bbbbbb", linewidth=0.8)
        axis.set_title(
            f"{row.model}, {row.training}\n{row.attack}, {row.detector}\n"
            f"on {labels[target]}, from {panel['source'].iloc[0]}"
        )
        axis.set_xlabel(f"Clean samples rejected (%), n = {panels.count(panel['samples'])}")
    panels.share_labels(figure)
    style.add_legend(figure, looks, {})
    return figure


def _nearest_source(data: pd.DataFrame) -> pd.DataFrame:
    rank = np.select([data["source"] == data["target"], data["source"] == "float32"], [0, 1], 2)
    ranked = data.assign(rank=rank).sort_values(["rank", "source"])
    return data.merge(ranked.drop_duplicates([*ROW, "target"])[[*ROW, "target", "source"]])


def _series(budget: float, norm: str) -> str:
    if pd.isna(budget):
        return "no budget"
    unit = "/255" if norm == "linf" else ""
    return f"{style.NORM_LABELS[norm]} {panels.budget_label(budget, norm)}{unit}"
