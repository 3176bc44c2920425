"""How large the input gradients of each precision are, by loss and estimator; exact zeros stand apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qnn_robustness.figures.shared import panels, style

TABLES = ("gradient_magnitudes",)
COLUMNS = {
    "exact": ("autodiff", "straight_through"),
    "one_level": ("one_level",),
    "one_code": ("one_code",),
}
TITLES = {
    "exact": "derivative\n(straight-through on integers)",
    "one_level": "central differences\nby one 8-bit level",
    "one_code": "central differences\nby one code of the input",
}
LOWEST = -8  # powers of ten below share a bin


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table gradient_magnitudes: one row a network and loss, one column a kind of gradient."""
    table = tables["gradient_magnitudes"]
    if table.empty:
        return panels.empty("No network was diagnosed.")
    looks = style.looks(style.precision_order(list(table["precision"].unique())))
    rows = table[["model", "training", "loss"]].drop_duplicates()
    columns = [name for name, estimators in COLUMNS.items() if table["estimator"].isin(estimators).any()]
    finite = table.loc[np.isfinite(table["decade"]), "decade"]
    highest = max([LOWEST + 1, *finite.astype(int)])
    figure, axes = panels.grid(len(rows), len(columns), "Share of gradients (%)")
    for line, row in zip(axes, rows.itertuples(index=False), strict=True):
        chosen = table[(table[["model", "training", "loss"]] == list(row)).all(axis=1)]
        for axis, column in zip(line, columns, strict=True):
            panel = chosen[chosen["estimator"].isin(COLUMNS[column])]
            axis.set_title(f"{row.model}, {row.training}\n{row.loss.replace('_', '-')}, {TITLES[column]}")
            _panel(axis, panel, looks, highest)
    style.add_legend(figure, looks, {})
    return figure


def _panel(axes: Axes, panel: pd.DataFrame, looks: dict[str, style.Look], highest: int) -> None:
    decades = list(range(LOWEST, highest + 1))
    zero = LOWEST - 2
    drawn = [name for name in looks if (panel["precision"] == name).any()]
    for i, name in enumerate(drawn):
        rows = panel[panel["precision"] == name]
        finite = rows[np.isfinite(rows["decade"])]
        shares = finite.groupby(finite["decade"].clip(lower=LOWEST))["share"].sum().reindex(decades, fill_value=0.0)
        axes.plot(decades, 100 * shares.to_numpy(), **looks[name]._asdict())
        zeros = 100 * rows.loc[np.isneginf(rows["decade"]), "share"].sum()
        at, look = zero + (i - (len(drawn) - 1) / 2) * 0.6, looks[name]
        axes.vlines(at, 0, zeros, color=look.color, linewidth=2.5)
        axes.plot(at, zeros, color=look.color, marker=look.marker)
    ticks = [decade for decade in decades if decade % 2 == 0]
    labels = [f"$10^{{{decade}}}$" for decade in ticks]
    labels[0] = f"≤{labels[0]}"
    axes.set_xticks([zero, *ticks], ["0", *labels])
    axes.set_ylim(-3, 103)
    axes.set_yticks(range(0, 101, 25))
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(f"|gradient|, power of ten, n = {panels.count(panel['samples'])}" if len(panel) else "")
