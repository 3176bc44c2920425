"""How well two gradients of the same sample agree: cosine and signs, one row of panels for each network."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qnn_robustness.figures.shared import panels, style

TABLES = ("gradient_alignment",)
MEASURES = {"cosine": ("Cosine", 0.0), "sign_agreement": ("Share of equal signs", 0.5)}
LOSSES = {"margin": "margin", "cross_entropy": "cross-entropy"}
ROW_HEIGHT = 0.33  # inches
DODGE = 0.3


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the table gradient_alignment: medians with quartiles; a dashed line where chance lies."""
    table = tables["gradient_alignment"]
    if table.empty:
        return panels.empty("No network was diagnosed.")
    looks = {name: look._replace(linestyle="") for name, look in style.looks(list(LOSSES)).items()}
    networks = table[["model", "training"]].drop_duplicates()
    pairs = table[["first", "second"]].drop_duplicates()
    figure = style.new_figure(7.6, (len(pairs) * ROW_HEIGHT + 0.9) * len(networks) + 0.5)
    axes = figure.subplots(len(networks), len(MEASURES), squeeze=False)
    for line, network in zip(axes, networks.itertuples(index=False), strict=True):
        panel = table[(table["model"] == network.model) & (table["training"] == network.training)]
        for axis, (measure, (label, chance)) in zip(line, MEASURES.items(), strict=True):
            _panel(axis, panel, pairs, looks, measure)
            axis.axvline(chance, color="#444444", linestyle="--", linewidth=0.9)
            axis.set_xlabel(f"{label} (n = {panels.count(panel['samples'])})")
            axis.set_title(f"{network.model}, {network.training}")
            axis.set_yticks(range(len(pairs)), [f"{first}\nand {second}" for first, second in pairs.to_numpy()])
            axis.tick_params(axis="y", labelleft=axis is line[0])
    style.add_legend(figure, looks, LOSSES)
    return figure


def _panel(axes: Axes, panel: pd.DataFrame, pairs: pd.DataFrame, looks: dict[str, style.Look], measure: str) -> None:
    for position, pair in enumerate(pairs.to_numpy()):
        chosen = panel[(panel[["first", "second"]] == pair).all(axis=1)].dropna(subset=measure)
        for i, (loss, look) in enumerate(looks.items()):
            for row in chosen[chosen["loss"] == loss].to_dict("records"):
                median, q1, q3 = (row[f"{measure}{part}"] for part in ("", "_q1", "_q3"))
                at = position + (i - (len(looks) - 1) / 2) * DODGE
                error = [[median - q1], [q3 - median]]
                axes.errorbar(median, at, xerr=error, capsize=2, elinewidth=0.9, **look._asdict())
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    lowest = min([MEASURES[measure][1] - 0.05, *panel[f"{measure}_q1"].dropna()])
    axes.set_xlim(lowest - 0.05, 1.05)
    axes.grid(visible=False, axis="y")
