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
ROUNDED_LABEL = "float32 on the input of int8"
MARGIN = 6  # dB between the largest ratio and where vanished perturbations stand


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table quantization_shift: one row a network and direction, one column a size."""
    table = tables["quantization_shift"]
    if table.empty:
        return panels.empty("No network was diagnosed.")
    precisions = style.precision_order([name for name in table["network"].unique() if " " not in name])
    looks = style.looks(precisions)
    if (table["network"] == ROUNDED).any():
        looks[ROUNDED] = style.Look(style.COLOURS[4], "x", style.LINES[4])
    rows, sizes = table[ROW].drop_duplicates(), sorted(table["size"].unique())
    finite = table.loc[np.isfinite(table["snr_median"]), "snr_median"]
    gone = (finite.max() if len(finite) else 0) + MARGIN
    figure, axes = panels.grid(len(rows), len(sizes), "Signal to noise (dB)")
    for line, row in zip(axes, rows.itertuples(index=False), strict=True):
        chosen = table[(table[ROW] == list(row)).all(axis=1)]
        for axis, size in zip(line, sizes, strict=True):
            panel = chosen[chosen["size"] == size]
            axis.set_title(
                f"{row.training}, {row.direction}\n±{size * 255:.3g}/255, n = {panels.count(panel['samples'])}"
            )
            _panel(axis, panel, looks, gone)
            axis.set_ylim(min(finite, default=0) - MARGIN, gone + MARGIN)
            axis.tick_params(axis="y", labelleft=axis is line[0])
    handle = {"at the dotted line: gone": Line2D([], [], color="#444444", linestyle=":")}
    style.add_legend(figure, looks, {ROUNDED: ROUNDED_LABEL}, handle)
    return figure


def _panel(axes: Axes, panel: pd.DataFrame, looks: dict[str, style.Look], gone: float) -> None:
    for name, look in looks.items():
        rows = panel[panel["network"] == name].sort_values("place")
        values = rows["snr_median"].where(np.isfinite(rows["snr_median"]), gone)
        axes.plot(rows["place"], values, **look._asdict())
    axes.axhline(gone, color="#444444", linestyle=":", linewidth=0.9)
    places = panel.drop_duplicates("place").sort_values("place")
    axes.set_xticks(places["place"].iloc[[0, -1]], ["input", "logits"])
    axes.set_xticks(places["place"], minor=True)
    axes.set_xlabel(f"Layer ({len(places) - 1})")
