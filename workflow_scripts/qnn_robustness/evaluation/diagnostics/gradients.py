"""Gradient masking (F1): how many input gradients are exactly zero, and how large the others are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qnn_robustness.evaluation.diagnostics.shared.differences import differences, probed
from qnn_robustness.evaluation.diagnostics.shared.losses import LOSSES
from qnn_robustness.evaluation.diagnostics.shared.subject import LEVEL, Network, Subject

DIFFERENT_STEP = 0.01  # share by which a step has to differ from one 8-bit level to be worth a measurement of its own


def measure(subject: Subject, *, seed: int, probed_values: int) -> pd.DataFrame:
    """Return how often each power of ten occurs among the gradients of a sample.

    Columns: precision, estimator, loss, sample, decade, count. `decade` is floor(log10 |g|), minus infinity for a
    gradient that is exactly zero; gradients are by inputs in [0, 1]. Estimators: `autodiff` (float32) and
    `straight_through` (integer) at all input values; `one_level` and `one_code` are central differences by one 8-bit
    level, and by one code of the network's own input where that is another step, at `probed_values` of them.
    """
    positions = probed(subject, seed, probed_values)
    parts = []
    for precision, network in subject.networks.items():
        for estimator, gradients in _estimates(network, subject, positions).items():
            for loss, values in gradients.items():
                rows = _decades(values.reshape(len(values), -1), subject.places)
                parts.append(rows.assign(precision=precision, estimator=estimator, loss=loss))
    columns = ["precision", "estimator", "loss", "sample", "decade", "count"]
    return pd.concat(parts, ignore_index=True)[columns]


def _estimates(network: Network, subject: Subject, positions: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Return gradients by estimator and loss."""
    exact = {name: network.gradients(subject.samples, subject.labels, loss) for name, loss in LOSSES.items()}
    estimates = {"autodiff" if network.input_step is None else "straight_through": exact}
    estimates["one_level"] = differences(network, subject, positions, LEVEL)
    if network.input_step is not None and abs(network.input_step / LEVEL - 1) > DIFFERENT_STEP:
        estimates["one_code"] = differences(network, subject, positions, network.input_step)
    return estimates


def _decades(gradients: np.ndarray, places: np.ndarray) -> pd.DataFrame:
    """Count the powers of ten in each row of gradients [N, D]."""
    with np.errstate(divide="ignore"):
        decades = np.floor(np.log10(np.abs(gradients.astype(np.float64))))
    samples = np.repeat(places, gradients.shape[1])
    counted = pd.DataFrame({"sample": samples, "decade": decades.reshape(-1)})
    return counted.value_counts(["sample", "decade"], sort=False).rename("count").reset_index()
