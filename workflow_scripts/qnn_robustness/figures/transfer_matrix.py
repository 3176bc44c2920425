"""Success rate of each attack from its source on every target precision, one heat map for each training."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from qnn_robustness.evaluation.reported import reported
from qnn_robustness.figures.shared import panels, style

TABLES = ("robust_accuracy",)
ROW = ["attack", "norm", "budget", "source"]
ROW_HEIGHT = 0.21  # inches
NOT_RUN = "#eeeeee"


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of a table of robust accuracies.

    A row is an attack at a budget from a source, a column a target. A framed cell is a source on itself;
    a grey field was not run.
    """
    table = reported(tables["robust_accuracy"])
    data = table[table["preprocessor"] == "none"]
    if data.empty:
        return panels.empty("No attack on undefended networks was run.")
    labels = panels.kernel_labels(data)
    targets = style.precision_order(list(labels))
    networks = data[["model", "training"]].drop_duplicates()
    rows = data[ROW].drop_duplicates().sort_values(["attack", "source", "budget"], kind="stable")
    keys = list(rows.itertuples(index=False, name=None))
    samples = data.groupby(ROW, dropna=False)["samples"].min()
    names = [_name(key, _at(samples, key)) for key in keys]
    figure = style.new_figure(2.6 + 2.6 * len(networks), len(keys) * ROW_HEIGHT + 1.6)
    axes = figure.subplots(1, len(networks), squeeze=False)[0]
    for axis, network in zip(axes, networks.itertuples(index=False), strict=True):
        chosen = data[(data["model"] == network.model) & (data["training"] == network.training)]
        _heat_map(axis, chosen, keys, names, targets)
        axis.set_title(f"{network.model}\n{network.training}")
        axis.set_xticklabels([labels[target].replace(" (", "\n(").replace(" kernels", "") for target in targets])
        axis.set_xlabel("Target")
        if axis is not axes[0]:
            axis.set_yticks([])
    axes[0].set_ylabel("Attack, budget, source")
    bar = figure.colorbar(axes[0].collections[0], ax=list(axes), fraction=0.04, pad=0.02, aspect=30)
    bar.set_label("Success rate (%)")
    bar.outline.set_visible(False)
    return figure


def _heat_map(axes: Axes, data: pd.DataFrame, keys: list[tuple], names: list[str], targets: list[str]) -> None:
    rates = data.groupby([*ROW, "target"], dropna=False)["success_rate"].mean().mul(100)
    cells = pd.DataFrame(
        [[_at(rates, (*key, target)) for target in targets] for key in keys],
        index=names,
        columns=targets,
        dtype=float,
    )
    sns.heatmap(
        cells.fillna(0),
        mask=cells.isna(),
        ax=axes,
        annot=True,
        fmt=".0f",
        vmin=0,
        vmax=100,
        cmap="cividis_r",
        cbar=False,
        linewidths=0.5,
        annot_kws={"size": style.SMALLEST_FONT},
    )
    for line, key in enumerate(keys):
        if key[-1] in targets and not pd.isna(cells.iloc[line, targets.index(key[-1])]):
            axes.add_patch(_frame(targets.index(key[-1]), line))
    axes.grid(visible=False)
    axes.set_facecolor(NOT_RUN)
    axes.tick_params(left=False, bottom=False)
    axes.tick_params(axis="y", rotation=0)


def _at(values: pd.Series, key: tuple) -> float:
    """Return the value of a key in which the budget may be missing."""
    names = values.index.names
    chosen = pd.Series(True, index=values.index)
    for name, word in zip(names, key, strict=True):
        level = values.index.get_level_values(name)
        chosen &= level.isna() if pd.isna(word) else level == word
    return float(values[chosen].iloc[0]) if chosen.any() else float("nan")


def _name(key: tuple, samples: float) -> str:
    attack, norm, budget, source = key
    size = "" if pd.isna(budget) else f" {panels.budget_label(budget, norm)}"
    size += "/255" if size and norm == "linf" else ""
    return f"{attack}{size}, {source} (n = {samples:,.0f})"


def _frame(column: int, line: int) -> Rectangle:
    return Rectangle((column + 0.04, line + 0.06), 0.92, 0.88, fill=False, edgecolor="#c2571a", linewidth=1.4)
