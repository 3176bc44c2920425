"""How large the perturbations of minimal-norm attacks are, by the precision on which they succeed."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from qnn_robustness.evaluation.reported import reported
from qnn_robustness.figures.shared import panels, style

TABLES = ("robust_accuracy",)
ROW = ["model", "attack", "source"]
HALF = 0.5
DODGE = 0.22
LINE_HEIGHT = 0.21  # inches, of a line of a row's name


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of a table of robust accuracies: medians with quartiles over successes.

    A hollow marker says that fewer than half of the samples succeeded: its median is one of an easy minority.
    """
    table = reported(tables["robust_accuracy"])
    data = table[table["budget"].isna() & (table["preprocessor"] == "none")]
    if data.empty:
        return panels.empty("No minimal-norm attack was run.")
    labels = panels.kernel_labels(data)
    looks = style.looks(style.precision_order(list(labels)))
    looks = {name: look._replace(linestyle="") for name, look in looks.items()}
    several_models = len(data["model"].unique()) > 1  # rows then name them
    trainings, norms = list(data["training"].unique()), list(data["norm"].unique())
    heights = [data.loc[data["norm"] == norm, ROW].drop_duplicates().shape[0] for norm in norms]
    width = 2.2 + 2.4 * len(trainings)
    row_height = LINE_HEIGHT * (1 + max(name.count("\n") for name in _names(data, data[ROW].drop_duplicates())))
    figure = style.new_figure(width, sum(heights) * row_height + 0.75 * len(norms) + 0.5)
    axes = figure.subplots(len(norms), len(trainings), squeeze=False, height_ratios=heights, sharex="row")
    for line, norm in zip(axes, norms, strict=True):
        rows = data.loc[data["norm"] == norm, ROW].drop_duplicates()
        for axis, training in zip(line, trainings, strict=True):
            panel = data[(data["norm"] == norm) & (data["training"] == training)]
            axis.set_title(training if several_models else f"{data['model'].iloc[0]}, {training}")
            _panel(axis, panel, rows, looks)
            axis.set_yticks(range(len(rows)), _names(data, rows))
            axis.tick_params(axis="y", labelleft=axis is line[0])
            axis.set_xlabel(f"{style.NORM_LABELS[norm]} distortion of successes\n({panels.unit(norm)})")
        # White-box attacks find what is ten times nearer than decision attacks do. Shared by the panels of a row.
        line[0].set_xscale("log")
        for axis in line:
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
    hollow = Line2D([], [], color="#444444", marker="o", markerfacecolor="white", linestyle="")
    any_hollow = (data["median_distortion"].notna() & (data["success_rate"] < HALF)).any()
    style.add_legend(figure, looks, labels, {"hollow: fewer than half succeed": hollow} if any_hollow else {})
    return figure


def _panel(axes: Axes, panel: pd.DataFrame, rows: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    for position, row in enumerate(rows.itertuples(index=False)):
        chosen = panel[(panel[ROW] == list(row)).all(axis=1)]
        for i, (target, look) in enumerate(looks.items()):
            for point in chosen[chosen["target"] == target].dropna(subset="median_distortion").itertuples():
                scale = 255 if point.norm == "linf" else 1
                median, q1, q3 = (
                    scale * value for value in (point.median_distortion, point.q1_distortion, point.q3_distortion)
                )
                hollow = point.success_rate < HALF
                axes.errorbar(
                    median,
                    position + (i - (len(looks) - 1) / 2) * DODGE,
                    xerr=[[median - q1], [q3 - median]],
                    color=look.color,
                    marker=look.marker,
                    markerfacecolor="white" if hollow else look.color,
                    capsize=2,
                    elinewidth=0.9,
                )
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _names(data: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    several_models = len(data["model"].unique()) > 1
    names = []
    for row in rows.itertuples(index=False):
        samples = data.loc[(data[ROW] == list(row)).all(axis=1), "samples"]
        model = f"{row.model}\n" if several_models else ""
        names.append(f"{model}{row.attack}\nfrom {row.source}, n = {panels.count(samples)}")
    return names
