"""Panels that several figures are made of. They place numbers of tables; they compute none from records."""

from __future__ import annotations

from collections.abc import Iterator
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
MOST_LYING = 6  # budgets whose labels find room beside each other
DODGE, WIDEST = 0.13, 0.6  # between the series of one budget, and from the first of them to the last at most
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


def grid(rows: int, columns: int, y_label: str) -> tuple[Figure, np.ndarray]:
    """Return a figure of equal panels, Axes [rows, columns], with the y axis named at the left.

    A long single column is broken into lines of `ACROSS` panels, to be read line by line.
    """
    across = ACROSS if columns == 1 and rows > ACROSS else columns
    lines = -(-rows * columns // across)
    figure = style.new_figure(max(PANEL_WIDTH * across, 4.2) + 0.3, PANEL_HEIGHT * lines + 0.9)
    axes = figure.subplots(lines, across, squeeze=False)
    for axis in axes[:, 0]:
        axis.set_ylabel(y_label)
    used, spare = np.split(axes.ravel(), [rows * columns])
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


def accuracy_against_budget(axes: Axes, table: pd.DataFrame, series: str, looks: dict[str, Look]) -> None:
    """Draw robust accuracy (per cent) with Wilson intervals against budget, one line for each `series`.

    Budgets stand at equal distances, and the series of one budget side by side: their intervals overlap.
    The y axis runs from 0 to 100 per cent, so that panels and figures compare at a glance.
    """
    budgets = sorted(table["budget"].unique())
    drawn = [name for name in looks if (table[series] == name).any()]
    dodge = min(DODGE, WIDEST / len(drawn))
    for i, name in enumerate(drawn):
        rows = table[table[series] == name].sort_values("budget")
        at = [budgets.index(budget) + (i - (len(drawn) - 1) / 2) * dodge for budget in rows["budget"]]
        interval_line(axes, at, rows, looks[name])
    norm = table["norm"].iloc[0]
    upright = 90 if len(budgets) > MOST_LYING else 0
    axes.set_xticks(range(len(budgets)), [budget_label(budget, norm) for budget in budgets], rotation=upright)
    axes.set_xlim(-0.5, len(budgets) - 0.5)
    samples = count(table["samples"])
    separator = "\n" if " to " in samples else ", "  # a range is too long for the line
    axes.set_xlabel(f"{budget_axis(norm)}{separator}n = {samples}")
    axes.grid(visible=False, axis="x")
    axes.set_ylim(-6, 106)  # whole markers at both ends, in low panels too
    axes.set_yticks(range(0, 101, 25))


def interval_line(axes: Axes, at: list[float], rows: pd.DataFrame, look: Look) -> None:
    """Draw accuracies (per cent) with their intervals as one line."""
    share = rows[["accuracy", "ci_low", "ci_high"]].to_numpy() * 100
    below, above = share[:, 0] - share[:, 1], share[:, 2] - share[:, 0]
    error = [below.clip(0), above.clip(0)]
    axes.errorbar(at, share[:, 0], yerr=error, capsize=2, elinewidth=0.9, **look._asdict())


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
