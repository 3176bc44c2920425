"""Distances to the decision boundary: their distribution on every precision, and the paired differences from
float32."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qnn_robustness.figures.shared import panels, style

TABLES = ("boundary_distance", "boundary_distance_tests")
ROW = ["model", "training", "lattice", "norm"]
REFERENCE = "float32"


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Return the figure of the tables boundary_distance and boundary_distance_tests, one row a network and norm."""
    distances, tests = (tables[name] for name in TABLES)
    precisions = [name for name in style.PRECISIONS if name in distances]
    if distances.empty or not precisions:
        return panels.empty("No sample is right on all precisions.")
    looks, rows = style.looks(precisions), distances[ROW].drop_duplicates()
    figure, axes = panels.grid(len(rows), 2, "Samples (%)")
    for line, row in zip(axes, rows.itertuples(index=False), strict=True):
        chosen = distances[(distances[ROW] == list(row)).all(axis=1)]
        paired = tests[(tests[ROW] == list(row)).all(axis=1) & (tests["first"] == REFERENCE)]
        scale = 255 if row.norm == "linf" else 1
        _distributions(line[0], chosen, looks, scale)
        _differences(line[1], chosen, paired, looks, scale)
        line[0].set_title(f"{row.model}, {row.training}\n{row.lattice} lattice")
        line[0].set_xlabel(f"{style.NORM_LABELS[row.norm]} distance ({panels.unit(row.norm)}), n = {len(chosen)}")
        line[1].set_title("Difference from float32\nmedian with 95 % interval on top")
        line[1].set_xlabel(f"{style.NORM_LABELS[row.norm]} difference ({panels.unit(row.norm)})")
    style.add_legend(figure, looks, {})
    return figure


def _distributions(axes: Axes, distances: pd.DataFrame, looks: dict[str, style.Look], scale: float) -> None:
    """Draw the share of samples within each distance; samples that no attack fooled keep a curve below 100 %."""
    finite = distances[list(looks)].to_numpy()
    finite = finite[np.isfinite(finite)]
    end = scale * (np.quantile(finite, 0.99) if len(finite) else 1.0)
    for name, look in looks.items():
        values = np.sort(distances[name].to_numpy()) * scale
        shares = 100 * np.arange(1, len(values) + 1) / len(values)
        known = np.isfinite(values)
        _steps(axes, values[known], shares[known], look, end)
    axes.set_xlim(0, end * 1.02)
    axes.set_ylim(-3, 103)


def _differences(
    axes: Axes, distances: pd.DataFrame, tests: pd.DataFrame, looks: dict[str, style.Look], scale: float
) -> None:
    others = [name for name in looks if name != REFERENCE and REFERENCE in distances]
    ends = [0.0]
    for name in others:
        with np.errstate(invalid="ignore"):
            values = np.sort(((distances[name] - distances[REFERENCE]) * scale).dropna().to_numpy())
        shares = 100 * np.arange(1, len(values) + 1) / max(len(values), 1)
        known = np.isfinite(values)
        ends += [float(np.quantile(np.abs(values[known]), 0.98))] if known.any() else []
        _steps(axes, values[known], shares[known], looks[name], np.inf)
    for i, row in enumerate(tests.to_dict("records")):
        median, low, high = (scale * row[name] for name in ("difference", "difference_low", "difference_high"))
        if np.isfinite([median, low, high]).all() and row["second"] in looks:
            error, look = [[median - low], [high - median]], looks[row["second"]]
            axes.errorbar(median, 108 + 9 * i, xerr=error, capsize=2, color=look.color, marker=look.marker)
            ends.append(max(abs(low), abs(high)))
    end = max(ends) or 1.0
    axes.axvline(0, color="#444444", linewidth=0.9)
    axes.set_xlim(-1.1 * end, 1.1 * end)
    axes.set_ylim(-3, 112 + 9 * len(others))
    axes.set_yticks(range(0, 101, 25))


def _steps(axes: Axes, values: np.ndarray, shares: np.ndarray, look: style.Look, end: float) -> None:
    every = max(1, len(values) // 6)
    axes.plot(values, shares, drawstyle="steps-post", markevery=(every // 2, every), **look._asdict())
    if len(values) and np.isfinite(end):
        axes.plot([values[-1], max(end, values[-1])], [shares[-1]] * 2, color=look.color, linestyle=look.linestyle)
