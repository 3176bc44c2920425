"""Standard training on clean samples."""

from __future__ import annotations

import keras
import pandas as pd

from qnn_robustness.data.splits import Split
from qnn_robustness.training.fitting.fit import fit


def train(network: keras.Model, train: Split, validation: Split, *, seed: int, **fitting) -> pd.DataFrame:
    """Train `network` in place; return its history. `fitting`: see `fit`."""
    trainer = keras.Model(network.inputs, network.outputs)
    return fit(trainer, network, train, validation, monitor="val_accuracy", seed=seed, **fitting)
