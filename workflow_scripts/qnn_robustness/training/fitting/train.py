"""From a recipe and data to a trained network on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import atomic_path, write_text
from qnn_robustness.data.splits import Split
from qnn_robustness.training.fitting.fit import make_deterministic

FITTING = ("epochs", "batch_size", "learning_rate", "momentum", "warmup_epochs", "shift", "flip")


def train_network(
    train: Split,
    validation: Split,
    *,
    architecture: str,
    recipe: dict[str, Any],
    seed: int,
    initial: str | None,
    network_path: str | Path,
    history_path: str | Path,
) -> None:
    """Build or load the network, train it by `recipe`, and write it (.keras) and its history (.csv).

    Raises UserError when there is no validation sample to choose the checkpoint by.
    """
    if not len(validation.labels):
        raise UserError("the validation split is empty; set validation_samples of the data set")
    make_deterministic(seed)
    classes = int(train.labels.max()) + 1
    if initial:
        network = keras.saving.load_model(initial, compile=False, safe_mode=True)
    else:
        network = registry.load("models", architecture).build(train.samples.shape[1:], classes)
    method = registry.load("training", recipe["method"])
    fitting = {name: recipe[name] for name in FITTING}
    history = method.train(network, train, validation, seed=seed, **fitting, **recipe["parameters"])
    with atomic_path(network_path) as partial:
        network.save(partial)
    write_text(history_path, history.to_csv(index=False))
