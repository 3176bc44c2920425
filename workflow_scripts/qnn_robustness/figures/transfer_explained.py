"""What tells which adversarial samples transfer between precisions: areas under the curve, and success by quarter."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qnn_robustness.figures.shared import panels, style

TABLES = ("transfer_explained", "transfer_bins")
NETWORK = ["model", "training"]
SETTING = [*NETWORK, "attack", "budget"]
EXPLANATIONS = {"cosine": "gradient cosine", "gain": "quantization shift", "distance": "near boundary"}
ROW_HEIGHT = 0.42  # inches
DODGE = 0.22


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the tables transfer_explained and transfer_bins, one row a network.

    Of the attacks and budgets of a network that were crafted on the most precisions the one is drawn that tells most:
    where all samples transfer, or none, there is nothing to explain.
    """
    areas = tables["transfer_explained"]
    areas = areas[areas["explanation"].isin(EXPLANATIONS)].assign(rarer=_rarer)
    if areas.empty:
        return panels.empty("No attack with an L∞ budget was crafted on one precision and tried on another.")
    chosen = _most_telling(areas)
    looks = style.looks(list(EXPLANATIONS))
    pairs = areas[["source", "target"]].drop_duplicates()
    figure = style.new_figure(7.8, (len(pairs) * ROW_HEIGHT + 1.1) * len(chosen) + 0.5)
    axes = figure.subplots(len(chosen), 2, squeeze=False, width_ratios=(1.1, 1))
    for line, setting in zip(axes, chosen, strict=True):
        area, bins = (table[(table[SETTING] == setting).all(axis=1)] for table in (areas, tables["transfer_bins"]))
        _areas(line[0], area, pairs, looks)
        line[0].set_title(f"{setting[0]}, {setting[1]}\n{setting[2]}, {panels.budget_label(setting[3], 'linf')}/255")
        pair = _largest(area)
        _bins(line[1], bins[(bins[["source", "target"]] == pair).all(axis=1)], looks)
        line[1].set_title(f"from {pair[0]} to {pair[1]}")
    style.add_legend(figure, looks, EXPLANATIONS)
    return figure


def _rarer(areas: pd.DataFrame) -> pd.Series:
    """Return how many samples there are of the rarer outcome: so much is known of what decides between the two."""
    return np.minimum(areas["successes"], areas["samples"] - areas["successes"])


def _most_telling(areas: pd.DataFrame) -> list[list]:
    """Return for each network the setting with samples of the most sources, and then the most of the rarer outcome."""
    known = areas.assign(source=areas["source"].where(areas["samples"] > 0))
    groups = known.groupby(SETTING, sort=False, as_index=False)
    totals = groups.agg(sources=("source", "nunique"), rarer=("rarer", "sum"))
    best = totals.sort_values(["sources", "rarer"], ascending=False, kind="stable")
    best = best.drop_duplicates(NETWORK).sort_index()
    return best[SETTING].to_numpy().tolist()


def _largest(area: pd.DataFrame) -> list[str]:
    """Return the pair of precisions of which the most is known."""
    known = area.assign(known=area["rarer"].where(area["auc"].notna(), -1))
    return known.sort_values("known", kind="stable")[["source", "target"]].to_numpy()[-1].tolist()


def _areas(axes: Axes, area: pd.DataFrame, pairs: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    names = []
    for position, pair in enumerate(pairs.to_numpy()):
        rows = area[(area[["source", "target"]] == pair).all(axis=1)]
        counts = rows[["successes", "samples"]].max()
        number = f"{int(counts['successes'])} of {int(counts['samples'])} transfer" if len(rows) else "not run"
        names.append(f"{pair[0]} to {pair[1]}\n{number}")
        for i, (explanation, look) in enumerate(looks.items()):
            for row in rows[rows["explanation"] == explanation].dropna(subset="auc").to_dict("records"):
                at = position + (i - (len(looks) - 1) / 2) * DODGE
                error = [[row["auc"] - row["auc_low"]], [row["auc_high"] - row["auc"]]]
                shape = look._replace(linestyle="")._asdict()
                axes.errorbar(row["auc"], at, xerr=error, capsize=2, elinewidth=0.9, **shape)
    axes.axvline(0.5, color="#444444", linestyle="--", linewidth=0.9)
    axes.set_yticks(range(len(pairs)), names)
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_xlim(-0.03, 1.03)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"Area under the ROC curve (n = {panels.count(area['samples'])})")


def _bins(axes: Axes, bins: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    for i, (explanation, look) in enumerate(looks.items()):
        rows = bins[bins["explanation"] == explanation].sort_values("bin", ascending=explanation != "distance")
        rows = rows.rename(columns={"success_rate": "accuracy"})
        at = [place + 1 + (i - (len(looks) - 1) / 2) * 0.12 for place in range(len(rows))]
        panels.interval_line(axes, at, rows, look)
    axes.set_xticks(range(1, 5), ["least", "second", "third", "most"])
    axes.set_xlabel("Quarter of the samples")
    axes.set_ylabel("Success (%)")
    axes.set_ylim(-3, 103)
    axes.set_yticks(range(0, 101, 25))
    axes.grid(visible=False, axis="x")
