"""How a perturbation grows from layer to layer: its signal-to-noise ratio in float32 and in integer networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qnn_robustness.figures.shared import panels, style

TABLES = ("quantization_shift",)
ROW = ["model", "training", "direction"]
ROUNDED = "int8 input"  # float32 on the input as int8 rounds it
ROUNDED_LABEL = "float32 on the rounded input of int8"
LEVEL = 1 / 255
PANEL_WIDTH, PANEL_HEIGHT = 2.4, 2.2  # inches
MARGIN = 6  # dB between the largest ratio and where vanished perturbations stand


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table quantization_shift, one row a network and direction.

    Columns: the ratio at the logits against the size of the perturbation, and layer by layer for the smallest size, the
    one nearest to one 8-bit level, and the largest.
    """
    table = tables["quantization_shift"]
    if table.empty:
        return panels.empty("No network was diagnosed.")
    precisions = style.precision_order([name for name in table["network"].unique() if " " not in name])
    looks = style.looks(precisions)
    if (table["network"] == ROUNDED).any():
        looks[ROUNDED] = style.Look(style.COLOURS[4], "x", style.LINES[4])
    rows, sizes = table[ROW].drop_duplicates(), sorted(table["size"].unique())
    shown = sorted({sizes[0], min(sizes, key=lambda size: abs(size - LEVEL)), sizes[-1]})
    finite = table.loc[np.isfinite(table["snr_median"]), "snr_median"]
    bottom, gone = between = min(finite, default=0) - MARGIN, max(finite, default=0) + MARGIN
    columns = len(shown) + 1
    figure = style.new_figure(PANEL_WIDTH * columns + 0.5, PANEL_HEIGHT * len(rows) + 0.6)
    axes = figure.subplots(len(rows), columns, squeeze=False, sharey=True)
    for line, row in zip(axes, rows.itertuples(index=False), strict=True):
        chosen = table[(table[ROW] == list(row)).all(axis=1)]
        _against_size(line[0], chosen, sizes, looks, between)
        line[0].set_title(f"{row.model}, {row.training}\n{row.direction}, at the logits")
        line[0].set_ylabel("Signal to noise (dB)")
        for axis, size in zip(line[1:], shown, strict=True):
            _along_layers(axis, chosen[chosen["size"] == size], looks, between)
            axis.set_title(f"{row.model}, {row.training}\n{row.direction}, ±{_levels(size)}/255")
        for axis in line:
            axis.axhline(gone, color="#444444", linestyle=":", linewidth=0.9)
            axis.set_ylim(bottom, gone + MARGIN)
    handle = {"at the dotted line: gone": Line2D([], [], color="#444444", linestyle=":")}
    style.add_legend(figure, looks, {ROUNDED: ROUNDED_LABEL}, handle)
    return figure


def _against_size(
    axes: Axes, rows: pd.DataFrame, sizes: list[float], looks: dict[str, style.Look], between: tuple[float, float]
) -> None:
    logits = rows[rows["place"] == rows["place"].max()].assign(place=rows["size"].map(sizes.index))
    _lines(axes, logits, looks, between)
    axes.set_xticks(range(len(sizes)), [_levels(size) for size in sizes])
    axes.set_xlabel(f"Size (levels of 1/255), n = {panels.count(rows['samples'])}")


def _along_layers(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look], between: tuple[float, float]) -> None:
    _lines(axes, rows, looks, between)
    places = sorted(rows["place"].unique())
    axes.set_xticks([places[0], places[-1]], ["input", "logits"])
    axes.set_xlabel(f"Layer, {len(places) - 1} in all")


def _lines(axes: Axes, rows: pd.DataFrame, looks: dict[str, style.Look], between: tuple[float, float]) -> None:
    for name, look in looks.items():
        chosen = rows[rows["network"] == name].sort_values("place")
        axes.plot(chosen["place"], chosen["snr_median"].clip(*between), **look._asdict())


def _levels(size: float) -> str:
    return f"{size * 255:.3g}"
