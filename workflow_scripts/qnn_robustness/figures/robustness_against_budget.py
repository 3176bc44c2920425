"""Robust accuracy of each precision against the budget of attacks, one panel for each attack and training."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from qnn_robustness.evaluation.reported import reported
from qnn_robustness.figures.shared import panels, style

TABLES = ("robust_accuracy",)
ROW = ["model", "attack", "source", "preprocessor"]
SETTING = [*ROW, "training", "target", "norm", "budget"]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of a table of robust accuracies; attacks without a budget are left out."""
    table = reported(tables["robust_accuracy"])
    budgeted = table[table["budget"].notna()]
    if budgeted.empty:
        return panels.empty("No attack with a budget was run.")
    labels = panels.kernel_labels(budgeted)
    looks = style.looks(style.precision_order(list(labels)))
    data = panels.over_seeds(budgeted, SETTING)
    rows, trainings = data[ROW].drop_duplicates(), list(data["training"].unique())
    figure, axes = panels.grid(len(rows), len(trainings), "Robust accuracy (%)")
    for axis, row, training, panel in panels.filled(axes, data, rows, "training", trainings):
        axis.set_title(_title(row, training))
        panels.accuracy_against_budget(axis, panel, "target", looks)
    panels.share_labels(figure)
    style.add_legend(figure, looks, labels)
    return figure


def _title(row: tuple, training: str) -> str:
    defense = "" if row.preprocessor == "none" else f", {row.preprocessor}"
    return f"{row.model}, {training}{defense}\n{row.attack} from {row.source}"
