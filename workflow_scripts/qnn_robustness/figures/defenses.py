"""What each defense is worth under static, transferred and adaptive attacks, one panel for each precision."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from qnn_robustness.evaluation.reported import reported
from qnn_robustness.figures.shared import panels, style

TABLES = ("defenses",)
ROW = ["model", "training", "preprocessor"]
LABELS = {"static": "static", "transfer": "transferred", "adaptive": "adaptive", "worst": "all together"}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table defenses."""
    data = reported(tables["defenses"])
    if data.empty:
        return panels.empty("No attack with an L\u221e budget was run.")
    labels = panels.kernel_labels(data)
    looks = style.looks([name for name in LABELS if (data["part"] == name).any()])
    rows, targets = data[ROW].drop_duplicates(), style.precision_order(list(labels))
    figure, axes = panels.grid(len(rows), len(targets), "Robust accuracy (%)")
    for axis, row, target, panel in panels.filled(axes, data, rows, "target", targets):
        defense = "" if row.preprocessor == "none" else f"{row.preprocessor}, "
        masked = "\ngradients masked" if panel["masked"].eq(True).any() else ""
        axis.set_title(f"{row.model}, {row.training}\n{defense}on {labels[target]}{masked}")
        panels.accuracy_against_budget(axis, panel, "part", looks)
    panels.share_labels(figure)
    style.add_legend(figure, looks, LABELS)
    return figure
