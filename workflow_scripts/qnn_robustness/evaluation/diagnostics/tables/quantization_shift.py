"""Signal-to-noise ratio of a perturbation at every layer, in float32, on the rounded input, and in integer networks."""

from __future__ import annotations

import numpy as np
import pandas as pd

KEYS = ["model", "training", "direction", "size", "network", "place", "layer"]
# Which columns hold the signal and the noise of each kind of network.
NETWORKS = {
    "float32": ("signal_float32", "noise_float32"),
    "rounded": ("signal_float32", "noise_rounded"),
    "integer": ("signal", "noise"),
}


def table(shift: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each perturbation, network and layer: median and quartiles of the ratio, in dB.

    The ratio is 20 log10(signal / noise): it falls as a perturbation grows from layer to layer. It is infinite where a
    perturbation leaves no trace; `vanished` is the share of those samples. `network` is float32, int16, int8, or one of
    the latter two with ` input`: float32 on the input as that network rounds it. Samples whose layer is silent (all
    zeros) when clean and perturbed are left out; where it is when clean alone the ratio is minus infinity.
    """
    parts = []
    for kind, (signal, noise) in NETWORKS.items():
        rows = shift[shift["precision"] == shift["precision"].iloc[0]] if kind == "float32" else shift
        names = {"float32": "float32", "rounded": rows["precision"] + " input", "integer": rows["precision"]}
        parts.append(rows.assign(network=names[kind], ratio=decibels(rows[signal], rows[noise])))
    rows = pd.concat(parts).dropna(subset="ratio")
    grouped = rows.groupby(KEYS, sort=False)["ratio"]
    quartiles = {f"snr_{name}": grouped.quantile(q, interpolation="nearest") for name, q in QUARTILES.items()}
    counts = {"samples": grouped.size(), "vanished": grouped.agg(lambda ratio: np.isposinf(ratio).mean())}
    return pd.DataFrame({**counts, **quartiles}).reset_index()


QUARTILES = {"q1": 0.25, "median": 0.5, "q3": 0.75}


def decibels(first: pd.Series, second: pd.Series) -> pd.Series:
    """Return 20 log10(first / second): infinite where only one is zero, nan where both are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 20 * (np.log10(first) - np.log10(second))
