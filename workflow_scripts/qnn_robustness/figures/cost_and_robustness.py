"""Worst-case robust accuracy against work on the device, one panel for each model and budget."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qnn_robustness.figures.shared import panels, style

TABLES = ("cost_and_robustness",)
MILLION = 1e6
ROOM = 0.8  # of the distance of two amounts of work, for the pipelines of one
FRONT = {"color": "#777777", "linewidth": 0.9, "marker": "o", "markersize": 9, "fillstyle": "none"}  # a ring each


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table cost_and_robustness.

    Amounts of work stand at equal distances, and pipelines of equal work, to three digits, side by side; those of
    unknown work are left out.
    A hollow marker says that no adaptive attack was made on a pipeline, or that it is masked: it is on no front.
    """
    table = tables["cost_and_robustness"].dropna(subset="work")
    if table.empty:
        return panels.empty("No integer network of known work was attacked with an L\u221e budget.")
    table = table.assign(pipeline=panels.pipelines(table) + ", " + table["precision"])
    looks = style.looks(list(table["pipeline"].unique()))
    models, budgets = table["model"].unique(), sorted(table["budget"].unique())
    figure, axes = panels.grid(len(models), len(budgets), "Worst-case accuracy (%)")
    for line, model in zip(axes, models, strict=True):
        for axis, budget in zip(line, budgets, strict=True):
            panel = table[(table["model"] == model) & (table["budget"] == budget)]
            if panel.empty:
                axis.set_axis_off()
                continue
            axis.set_title(f"{model}\nL\u221e {panels.budget_label(budget, 'linf')}/255")
            _panel(axis, panel, looks)
    panels.share_labels(figure)
    labels = panels.counted_labels(table, "pipeline", {"samples": "n = {}"})
    extra = {"not beaten": Line2D([], [], **FRONT)}
    if _doubtful(table).any():
        look = {"color": "#444444", "marker": "o", "markerfacecolor": "white", "linestyle": ""}
        extra["hollow: not adaptive, or masked"] = Line2D([], [], **look)
    style.add_legend(figure, looks, labels, extra)
    return figure


def _panel(axis: Axes, panel: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    work = (panel["work"] / MILLION).map("{:.3g}".format)
    levels = sorted(work.unique(), key=float)
    alike = panel.groupby(work)["work"]
    beside = (alike.cumcount() - (alike.transform("size") - 1) / 2) * ROOM / alike.transform("size").max()
    panel = panel.assign(at=work.map(levels.index) + beside)
    for _, rows in panel[panel["pareto"]].groupby("samples"):  # only these were compared with each other
        front = rows.sort_values("at")
        axis.plot(front["at"], front["accuracy"] * 100, **FRONT)
    for name, rows in panel.groupby("pipeline", sort=False):
        panels.interval_line(axis, list(rows["at"]), rows, looks[name], _doubtful(rows).any())
    axis.set_xticks(range(len(levels)), levels)
    axis.set_xlim(-0.5, len(levels) - 0.5)
    axis.grid(visible=False, axis="x")
    axis.set_xlabel(f"Work (million operations), n = {panels.count(panel['samples'])}")
    axis.set_ylim(-3, 103)
    axis.set_yticks(range(0, 101, 25))


def _doubtful(table: pd.DataFrame) -> pd.Series:
    return ~table["adaptive"] | table["masked"].eq(True)
