"""Robust accuracy of each precision against all attacks together, one panel for each training."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from qnn_robustness.evaluation.reported import reported
from qnn_robustness.figures.shared import panels, style

TABLES = ("worst_case",)
ROW = ["model", "preprocessor"]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table worst_case."""
    data = reported(tables["worst_case"])
    if data.empty:
        return panels.empty("No attack with an L∞ budget was run.")
    labels = panels.kernel_labels(data)
    looks = style.looks(style.precision_order(list(labels)))
    rows, trainings = data[ROW].drop_duplicates(), list(data["training"].unique())
    figure, axes = panels.grid(len(rows), len(trainings), "Worst-case accuracy (%)")
    for axis, row, training, panel in panels.filled(axes, data, rows, "training", trainings):
        defense = "" if row.preprocessor == "none" else f"{row.preprocessor}, "
        axis.set_title(f"{row.model}, {training}\n{defense}worst of {_attacks(panel)}")
        panels.accuracy_against_budget(axis, panel, "target", looks)
    style.add_legend(figure, looks, labels)
    return figure


def _attacks(panel: pd.DataFrame) -> str:
    number = panels.count(panel["attacks"])
    return "1 attack" if number == "1" else f"{number} attacks"
