"""Robust accuracy behind each preprocessor against budget, one panel for each precision and training."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from qnn_robustness.evaluation.reported import reported
from qnn_robustness.figures.shared import panels, style

TABLES = ("robust_accuracy",)
ROW = ["model", "attack", "source", "training"]
SETTING = [*ROW, "preprocessor", "target", "norm", "budget"]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of a table of robust accuracies; attacks without a budget are left out."""
    table = reported(tables["robust_accuracy"])
    budgeted = table[table["budget"].notna()]
    if budgeted.empty:
        return panels.empty("No attack with a budget was run.")
    labels = panels.kernel_labels(budgeted)
    looks = style.looks(list(budgeted["preprocessor"].unique()))
    data = panels.over_seeds(budgeted, SETTING)
    rows, targets = data[ROW].drop_duplicates(), style.precision_order(list(labels))
    figure, axes = panels.grid(len(rows), len(targets), "Robust accuracy (%)")
    for line, row in zip(axes, rows.itertuples(index=False), strict=True):
        for axis, target in zip(line, targets, strict=True):
            panel = data[(data[ROW] == list(row)).all(axis=1) & (data["target"] == target)]
            if panel.empty:
                axis.set_axis_off()
                continue
            network = f"{row.model}, {row.training}"
            axis.set_title(f"{network}\n{row.attack} from {row.source}\non {labels[target]}")
            panels.accuracy_against_budget(axis, panel, "preprocessor", looks)
    style.add_legend(figure, looks, {"none": "no preprocessor"})
    return figure
