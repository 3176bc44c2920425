"""The margin around samples in the plane of float32's gradient and a random direction, one column a precision."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from qnn_robustness.figures.shared import panels, style

TABLES = ("loss_surfaces",)
ROW = ["model", "training", "sample"]
COLOURS = "PuOr_r"  # diverging, and apart for every kind of colour vision
LEVELS = 255
PANEL = 2.2  # inches


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table loss_surfaces; the black line is the decision boundary."""
    table = tables["loss_surfaces"]
    if table.empty:
        return panels.empty("No network was diagnosed.")
    precisions = style.precision_order(list(table["precision"].unique()))
    rows = table[ROW].drop_duplicates()
    figure = style.new_figure(PANEL * len(precisions) + 1.4, (PANEL + 0.25) * len(rows) + 0.3)
    axes = figure.subplots(len(rows), len(precisions), squeeze=False, sharex=True, sharey=True)
    for line, row in zip(axes, rows.itertuples(index=False), strict=True):
        chosen = table[(table[ROW] == list(row)).all(axis=1)]
        largest = max(float(chosen["margin"].abs().max()), 1e-12)
        norm = TwoSlopeNorm(0, -largest, largest)
        for axis, precision in zip(line, precisions, strict=True):
            _panel(axis, chosen[chosen["precision"] == precision], norm)
            axis.set_title(f"{row.model}, {row.training}\n{precision}, sample {row.sample}")
        bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=list(line), fraction=0.05, pad=0.02, aspect=18)
        bar.set_label("Margin of logits")
        bar.outline.set_visible(False)
        line[0].set_ylabel("Random signs\n(levels of 1/255)")
    for axis in axes[-1]:
        axis.set_xlabel("Gradient sign\n(levels of 1/255)")
    return figure


def _panel(axes: Axes, panel: pd.DataFrame, norm: TwoSlopeNorm) -> None:
    grid = panel.pivot_table(index="along_random", columns="along_gradient", values="margin")
    x, y = grid.columns.to_numpy() * LEVELS, grid.index.to_numpy() * LEVELS
    values = grid.to_numpy()
    axes.pcolormesh(x, y, values, norm=norm, cmap=COLOURS, shading="nearest", rasterized=True)
    if values.min() < 0 < values.max():
        axes.contour(x, y, values, levels=[0], colors="black", linewidths=1.2)
    axes.plot(0, 0, marker="+", color="black", markersize=7)
    axes.grid(visible=False)
    axes.set_aspect("equal")
    axes.set_xticks(np.linspace(x.min(), x.max(), 5).round(6))
    axes.set_yticks(np.linspace(y.min(), y.max(), 5).round(6))
