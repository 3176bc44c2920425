"""Clean accuracy of every network on every precision and kernel set."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qnn_robustness.figures.shared import panels, style

TABLES = ("clean_accuracy",)
ROW_HEIGHT = 0.19  # inches


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table clean_accuracy: one panel a model, one line a network and precision."""
    table = tables["clean_accuracy"]
    parts = [part for _, part in table.groupby("model", sort=False)]
    looks = style.looks(style.precision_order(list(table["precision"].unique())))
    gaps = [len(part) + part[["training", "preprocessor"]].drop_duplicates().shape[0] for part in parts]
    figure = style.new_figure(6.0, sum(gaps) * ROW_HEIGHT + 0.8 * len(parts) + 0.4)
    axes = figure.subplots(len(parts), 1, squeeze=False, height_ratios=gaps)[:, 0]
    for axis, part in zip(axes, parts, strict=True):
        _panel(axis, part, looks)
    return figure


def _panel(axes: Axes, table: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    position, ticks, names = 0, [], []
    for (training, preprocessor), rows in table.groupby(["training", "preprocessor"], sort=False):
        defense = "" if preprocessor == "none" else f", {preprocessor}"
        for row in rows.itertuples():
            values = [100 * value for value in (row.accuracy, row.ci_low, row.ci_high)]
            error = [[max(values[0] - values[1], 0)], [max(values[2] - values[0], 0)]]
            look = looks[row.precision]._asdict()
            axes.errorbar(values[0], position, xerr=error, capsize=2, elinewidth=0.9, **look)
            ticks.append(position)
            kernels = "" if row.precision == "float32" else f" ({row.kernels})"
            names.append(f"{training}{defense}: {row.precision}{kernels}")
            position += 1
        position += 1
    axes.set_yticks(ticks, names)
    axes.set_ylim(position - 1.2, -0.8)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("Clean accuracy (%)")
    axes.set_title(f"{table['model'].iloc[0]} (n = {panels.count(table['samples'])})")
