"""Panels that several figures are made of. They place numbers of tables; they compute none from records."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qnn_robustness.common.vote import VOTE
from qnn_robustness.figures.shared import style
from qnn_robustness.figures.shared.style import Look

PANEL_WIDTH, PANEL_HEIGHT = 2.9, 2.3
ACROSS = 3
LONGEST = 40  # characters of a label below a panel that are not wider than it
MOST_LYING = 6  # budgets whose labels find room beside each other
DODGE = 0.026  # of a panel's width, between the series of one budget: as wide as a marker
WIDEST = 0.4  # of the distance of budgets, from the first series of one to its last at most
LOWER = 0.7  # inches: of a line of panels without labels below, these labels and a part of the panels
Place = tuple[int, int]  # line and column of a panel
UNITS = {"linf": "levels of 1/255", "l0": "changed values", "snr": "signal to noise in dB"}


def kernel_labels(table: pd.DataFrame) -> dict[str, str]:
    """Return a label for each target that names its kernel set where it has a choice of one."""
    pairs = table.drop_duplicates("target")[["target", "kernels"]].itertuples(index=False)
    return {t: t if t in ("float32", VOTE) else f"{t} ({kernels} kernels)" for t, kernels in pairs}


def over_seeds(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return one row for each setting: the mean accuracy over seeds and the span of their intervals."""
    return table.groupby(keys, dropna=False, sort=False, as_index=False).agg(
        accuracy=("accuracy", "mean"),
        ci_low=("ci_low", "min"),
        ci_high=("ci_high", "max"),
        samples=("samples", "min"),
    )


def pipelines(table: pd.DataFrame) -> pd.Series:
    """Return the name of the defense of each row: its training, and its preprocessor if it has one."""
    return table["training"] + table["preprocessor"].map(lambda name: "" if name == "none" else f", {name}")


def counted_labels(table: pd.DataFrame, series: str, counts: dict[str, str]) -> dict[str, str]:
    """Return a label for each series, with what it counts where the table has several numbers of it.

    `counts`: for a column of numbers the text that its number is put into.
    """
    several = {column: text for column, text in counts.items() if table[column].min() < table[column].max()}
    return {
        name: ", ".join([name, *(text.format(count(rows[column])) for column, text in several.items())])
        for name, rows in table.groupby(series, sort=False)
    }


def grid(rows: int, columns: int, y_label: str) -> tuple[Figure, np.ndarray]:
    """Return a figure of equal panels, Axes [rows, columns], with the y axis named at the left.

    A long single row or column is broken into lines of up to `ACROSS` panels, to be read line by line.
    """
    number, across = rows * columns, columns
    if min(rows, columns) == 1 and number > ACROSS:
        across = math.ceil(number / math.ceil(number / ACROSS))  # four are two of two
    lines = math.ceil(number / across)
    figure = style.new_figure(max(PANEL_WIDTH * across, 4.2) + 0.3, PANEL_HEIGHT * lines + 0.9)
    axes = figure.subplots(lines, across, squeeze=False)
    for axis in axes[:, 0]:
        axis.set_ylabel(y_label)
    used, spare = np.split(axes.ravel(), [number])
    for axis in spare:
        axis.remove()
    return figure, used.reshape(rows, columns)


def filled(
    axes: np.ndarray, data: pd.DataFrame, rows: pd.DataFrame, column: str, values: list[str]
) -> Iterator[tuple[Axes, Any, str, pd.DataFrame]]:
    """Yield the axes of each panel, its row of `rows` (a named tuple), its value of `column` and its part of `data`.

    The panels are those of `grid`: one line for each of `rows`, one column for each of `values`. Panels without data
    are left blank.
    """
    keys = list(rows.columns)
    for line, row in zip(axes, rows.itertuples(index=False), strict=True):
        for axis, value in zip(line, values, strict=True):
            panel = data[(data[keys] == list(row)).all(axis=1) & (data[column] == value)]
            if panel.empty:
                axis.set_axis_off()
            else:
                yield axis, row, value, panel


def share_labels(figure: Figure) -> None:
    """Leave out what neighbours say as well, and lower the figure by the room.

    These are the labels below a line of panels when those in the next line are all alike, and those at the left of a
    panel when the one beside it has them. The y axis is named at the first panel of each line that is not blank. To be
    called when the panels of a grid are drawn.
    """
    places = {_place(axes): axes for axes in figure.axes if axes.axison}
    lines = {line for line, _ in places}
    for line in lines:
        places[min(place for place in places if place[0] == line)].set_ylabel(figure.axes[0].get_ylabel())
    bare = lines - {line for line, column in places if not _alike(places, (line, column), (line + 1, column), "x")}
    beside = {(line, column) for line, column in places if _alike(places, (line, column), (line, column - 1), "y")}
    for place, axes in places.items():
        if place[0] in bare:
            axes.set_xlabel("")
            axes.tick_params(axis="x", labelbottom=False)
        if place in beside:
            axes.tick_params(axis="y", labelleft=False)
    figure.set_figheight(figure.get_figheight() - LOWER * len(bare))


def _place(axes: Axes) -> Place:
    spec = axes.get_subplotspec()
    return spec.rowspan.start, spec.colspan.start


def _alike(places: dict[Place, Axes], first: Place, second: Place, name: str) -> bool:
    """Return whether the axis `name` of two panels has the same range and labels; its name counts for x alone."""
    if second not in places:
        return False
    axis, other = (places[place].xaxis if name == "x" else places[place].yaxis for place in (first, second))
    ticks, others = ([label.get_text() for label in each.get_ticklabels()] for each in (axis, other))
    named_alike = name == "y" or axis.get_label_text() == other.get_label_text()
    return named_alike and ticks == others and (axis.get_view_interval() == other.get_view_interval()).all()


def accuracy_against_budget(
    axes: Axes, table: pd.DataFrame, series: str, looks: dict[str, Look], hollow: Collection[str] = ()
) -> None:
    """Draw robust accuracy (per cent) with Wilson intervals against budget, one line for each `series`.

    Those named in `hollow` have hollow markers.

    Budgets stand at equal distances, and the series of one budget side by side: their intervals overlap.
    The y axis runs from 0 to 100 per cent, so that panels and figures compare at a glance.
    """
    budgets = sorted(table["budget"].unique())
    drawn = [name for name in looks if (table[series] == name).any()]
    dodge = min(DODGE * len(budgets), WIDEST / len(drawn))
    for i, name in enumerate(drawn):
        rows = table[table[series] == name].sort_values("budget")
        at = [budgets.index(budget) + (i - (len(drawn) - 1) / 2) * dodge for budget in rows["budget"]]
        interval_line(axes, at, rows, looks[name], name in hollow)
    norm = table["norm"].iloc[0]
    upright = 90 if len(budgets) > MOST_LYING else 0
    axes.set_xticks(range(len(budgets)), [budget_label(budget, norm) for budget in budgets], rotation=upright)
    axes.set_xlim(-0.5, len(budgets) - 0.5)
    label, samples = budget_axis(norm), f"n = {count(table['samples'])}"
    separator = ", " if len(label) + len(samples) < LONGEST else "\n"
    axes.set_xlabel(f"{label}{separator}{samples}")
    axes.grid(visible=False, axis="x")
    axes.set_ylim(-6, 106)  # whole markers at both ends, in low panels too
    axes.set_yticks(range(0, 101, 25))


def interval_line(axes: Axes, at: list[float], rows: pd.DataFrame, look: Look, hollow: bool = False) -> None:
    """Draw accuracies (per cent) with their intervals as one line, its markers hollow if asked for."""
    share = rows[["accuracy", "ci_low", "ci_high"]].to_numpy() * 100
    below, above = share[:, 0] - share[:, 1], share[:, 2] - share[:, 0]
    error = [below.clip(0), above.clip(0)]
    face = "white" if hollow else look.color
    axes.errorbar(at, share[:, 0], yerr=error, capsize=2, elinewidth=0.9, markerfacecolor=face, **look._asdict())


def budget_label(budget: float, norm: str) -> str:
    """Return a budget as the number on its axis: 8-bit levels for Linf, dB for sound, a length otherwise."""
    return f"{budget * 255:.3g}" if norm == "linf" else f"{budget:.3g}"


def budget_axis(norm: str) -> str:
    """Return the axis label for budgets in a norm."""
    return f"{style.NORM_LABELS[norm]} budget ({unit(norm)})"


def unit(norm: str) -> str:
    """Return what distances in a norm are given in on an axis."""
    return UNITS.get(norm, "inputs in [0, 1]")


def count(samples: pd.Series) -> str:
    """Return a number of samples, or its range."""
    low, high = int(samples.min()), int(samples.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def empty(text: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = style.new_figure(4.5, 1.2)
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure
