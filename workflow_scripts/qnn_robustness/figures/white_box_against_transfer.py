"""Robust accuracy of integer networks under attacks on themselves, beside the same attacks transferred from float32."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from qnn_robustness.evaluation.reported import reported
from qnn_robustness.figures.shared import panels, style

TABLES = ("robust_accuracy",)
REFERENCE = "float32"
ROW = ["model", "training", "norm"]
SETTING = [*ROW, "target", "series", "budget"]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of a table of robust accuracies: a panel for each network and integer precision."""
    table = reported(tables["robust_accuracy"])
    own, transferred = table["source"] == table["target"], table["source"] == REFERENCE
    table = table[(own | transferred) & (table["target"] != REFERENCE)]
    table = table[table["budget"].notna() & (table["preprocessor"] == "none")]
    if table.empty:
        return panels.empty("No attack with a budget was run against an integer network.")
    place = table["source"].where(table["source"] == REFERENCE, "itself")
    data = panels.over_seeds(table.assign(series=table["attack"] + " from " + place), SETTING)
    looks = style.looks(sorted(data["series"].unique(), key=lambda name: name.endswith(REFERENCE)))
    rows, targets = data[ROW].drop_duplicates(), style.precision_order(list(data["target"].unique()))
    figure, axes = panels.grid(len(rows), len(targets), "Robust accuracy (%)")
    for axis, row, target, panel in panels.filled(axes, data, rows, "target", targets):
        axis.set_title(f"{row.model}, {row.training}\n{target}")
        panels.accuracy_against_budget(axis, panel, "series", looks)
    panels.share_labels(figure)
    style.add_legend(figure, looks, {})
    return figure
