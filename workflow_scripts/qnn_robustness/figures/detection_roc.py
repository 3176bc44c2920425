"""Adversarial samples detected against clean samples rejected, one panel for each attack and precision."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from qnn_robustness.evaluation.reported import reported
from qnn_robustness.figures.shared import panels, style

TABLES = ("detection_roc",)
ROW = ["model", "training", "attack", "source", "detector"]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table detection_roc, of the first seed of each attack."""
    data = reported(tables["detection_roc"])
    data = data[(data["samples"] > 0) & (data["seed"] == data["seed"].min())]
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
            f"{row.model}, {row.training}\n{row.attack} from {row.source}, {row.detector}\non {labels[target]}"
        )
        axis.set_xlabel(f"Clean samples rejected (%), n = {panels.count(panel['samples'])}")
    style.add_legend(figure, looks, {})
    return figure


def _series(budget: float, norm: str) -> str:
    if pd.isna(budget):
        return "no budget"
    unit = "/255" if norm == "linf" else ""
    return f"{style.NORM_LABELS[norm]} {panels.budget_label(budget, norm)}{unit}"
