"""How many successes of each attack a detector rejects, one panel for each precision attacked itself."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from qnn_robustness.evaluation.reported import reported
from qnn_robustness.figures.shared import panels, style

TABLES = ("detection",)
ROW = ["model", "training", "detector"]
RATE = {"detection_rate": "accuracy", "detection_low": "ci_low", "detection_high": "ci_high"}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table detection: attacks with an Linf budget on their own source, first seed of each."""
    data = reported(tables["detection"])
    data = data[(data["source"] == data["target"]) & (data["norm"] == "linf") & data["budget"].notna()]
    if data.empty:
        return panels.empty("No attack with an L\u221e budget was made on a watched network itself.")
    data = data[(data["successes"] > 0) & (data["seed"] == data.groupby("attack")["seed"].transform("min"))]
    if data.empty:
        return panels.empty("No attack succeeded: there is nothing to detect.")
    labels = panels.kernel_labels(data)
    data = data.drop(columns=[*RATE.values(), "samples"]).rename(columns={**RATE, "successes": "samples"})
    attacks = data.drop_duplicates("attack")[["attack", "through"]]
    names = {name: name + ("" if through == "none" else " (knows)") for name, through in attacks.values}
    looks = style.looks(list(names))
    rows, targets = data[ROW].drop_duplicates(), style.precision_order(list(labels))
    figure, axes = panels.grid(len(rows), len(targets), "Successes detected (%)")
    for axis, row, target, panel in panels.filled(axes, data, rows, "target", targets):
        axis.set_title(f"{row.model}, {row.training}\n{row.detector} on {labels[target]}")
        panels.accuracy_against_budget(axis, panel, "attack", looks)
    panels.share_labels(figure)
    style.add_legend(figure, looks, names)
    return figure
