"""Robust accuracy against all attacks together, of each precision or, where a model has several, of each defense."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qnn_robustness.evaluation.reported import reported
from qnn_robustness.figures.shared import panels, style

TABLES = ("worst_case",)
NETWORK = ["model", "training", "preprocessor"]
SETTING = ["model", "norm"]
COUNTS = {"attacks": "worst of {}", "samples": "n = {}"}
HALF = 0.5
Y_LABEL = "Worst-case accuracy (%)"


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table worst_case."""
    data = reported(tables["worst_case"])
    if data.empty:
        return panels.empty("No attack with an L∞ budget was run.")
    compared = data[NETWORK].drop_duplicates()["model"].duplicated().any()
    return _defenses(data) if compared else _precisions(data)


def _precisions(data: pd.DataFrame) -> Figure:
    """Return a panel for each model, with a line for each precision."""
    labels = panels.kernel_labels(data)
    looks = style.looks(style.precision_order(list(labels)))
    rows, norms = data[NETWORK].drop_duplicates(), list(data["norm"].unique())
    figure, axes = panels.grid(len(rows), len(norms), Y_LABEL)
    for axis, row, _, panel in panels.filled(axes, data, rows, "norm", norms):
        defense = "" if row.preprocessor == "none" else f"{row.preprocessor}, "
        axis.set_title(f"{row.model}, {row.training}\n{defense}worst of {_attacks(panel)}")
        panels.accuracy_against_budget(axis, panel, "target", looks)
    panels.share_labels(figure)
    style.add_legend(figure, looks, labels)
    return figure


def _defenses(data: pd.DataFrame) -> Figure:
    """Return a panel for each model and precision, with a line for each defense.

    A hollow marker says that another line in the panel met more than twice as many attacks: they do not compare.
    """
    data = data.assign(pipeline=panels.pipelines(data))
    precisions, labels = panels.kernel_labels(data), panels.counted_labels(data, "pipeline", COUNTS)
    looks = style.looks(list(labels))
    rows, targets = data[SETTING].drop_duplicates(), style.precision_order(list(precisions))
    figure, axes = panels.grid(len(rows), len(targets), Y_LABEL)
    any_hollow = False
    for axis, row, target, panel in panels.filled(axes, data, rows, "target", targets):
        axis.set_title(f"{row.model}, {precisions[target]}\nworst of {_attacks(panel)}")
        attacks = panel.groupby("pipeline")["attacks"].max()
        few = list(attacks[attacks < HALF * attacks.max()].index)
        panels.accuracy_against_budget(axis, panel, "pipeline", looks, few)
        any_hollow |= bool(few)
    panels.share_labels(figure)
    hollow = Line2D([], [], color="#444444", marker="o", markerfacecolor="white", linestyle="")
    style.add_legend(figure, looks, labels, {"hollow: fewer than half as many attacks": hollow} if any_hollow else {})
    return figure


def _attacks(panel: pd.DataFrame) -> str:
    number = panels.count(panel["attacks"])
    return "1 attack" if number == "1" else f"{number} attacks"
