"""The look of all figures: readable in print and by colour-blind people; equal tables give equal bytes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qnn_robustness.common.files import atomic_path

# Neighbours differ in lightness, so that they stay apart in grey and for every kind of colour vision.
COLOURS = ("#14213d", "#b3400a", "#3a8fd0", "#6a1b5a", "#a88400", "#00594a")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (7, 2)))
PRECISIONS = ("float32", "int16", "int8")
NORM_LABELS = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0", "snr": "Noise"}
SMALLEST_FONT = 8
LEGEND_LINE = 0.19  # inches; a figure has room for the first line
TITLE_ROOM = 1.1  # of a panel's width: beside it is room for the labels of the axis
SETTINGS = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": SMALLEST_FONT,
    "ytick.labelsize": SMALLEST_FONT,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "grid.color": "#dddddd",
    "axes.edgecolor": "#444444",
}


class Look(NamedTuple):
    """Colour, marker and line style of one series; any of the three tells series apart."""

    color: str
    marker: str
    linestyle: str | tuple


def looks(names: list[str]) -> dict[str, Look]:
    """Return the look of each series. Up to 210 series differ; precisions always look the same."""
    order = [*PRECISIONS, *(name for name in names if name not in PRECISIONS)]
    if not set(names) & set(PRECISIONS):
        order = names
    return {
        name: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], LINES[i % len(LINES)])
        for i, name in enumerate(order)
        if name in names
    }


def precision_order(names: list[str]) -> list[str]:
    """Return precisions from the most to the least precise; unknown ones last."""
    return sorted(names, key=lambda name: PRECISIONS.index(name) if name in PRECISIONS else len(PRECISIONS))


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure in the project's look; `width` and `height` in inches."""
    sns.set_theme(style="whitegrid", context="paper", rc=SETTINGS)
    return Figure(figsize=(width, height), layout="constrained")


def add_legend(
    figure: Figure, series: dict[str, Look], labels: dict[str, str], extra: dict[str, Line2D] | None = None
) -> None:
    """Put one legend for all panels above them; `extra` are further entries by their text."""
    handles = [Line2D([], [], **look._asdict()) for look in series.values()]
    handles += (extra or {}).values()
    texts = [*(labels.get(name, name) for name in series), *(extra or {})]
    entry = max(1.9, 0.6 + 0.07 * max(map(len, texts)))  # inches
    columns = max(1, min(len(texts), int(figure.get_figwidth() / entry)))
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * (math.ceil(len(texts) / columns) - 1))
    figure.legend(handles, texts, loc="outside upper center", ncols=columns, frameon=False, handlelength=3)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure (.svg or .png) atomically. An SVG has text as text, no date and stable identifiers."""
    _break_long_titles(figure)
    kind = Path(path).suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    settings = {"svg.hashsalt": "qnn_robustness", "svg.fonttype": "none"}
    with atomic_path(path) as partial, mpl.rc_context(settings):
        figure.savefig(partial, format=kind, metadata=metadata, dpi=200)


def _break_long_titles(figure: Figure) -> None:
    """Break lines of titles that would leave their panels at the commas: no layout leaves room for them."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        lines, fitting = axes.get_title().split("\n"), []
        for line in lines:
            axes.title.set_text(line)
            fits = axes.title.get_window_extent().width <= TITLE_ROOM * axes.bbox.width
            fitting.append(line if fits else line.replace(", ", ",\n"))
        axes.title.set_text("\n".join(fitting))
