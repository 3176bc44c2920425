"""The fitting loop: Keras' `fit` with a cosine schedule, the best validation checkpoint, a history and a progress bar."""

from __future__ import annotations

import time

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from qnn_robustness.common.progress import progress
from qnn_robustness.data.splits import Split, to_unit
from qnn_robustness.training.fitting.batches import Batches

VALIDATION_BATCH = 500


def make_deterministic(seed: int) -> None:
    """Seed every generator; the same seed and number of threads then give the same weights."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def fit(
    trainer: keras.Model,
    network: keras.Model,
    train: Split,
    validation: Split,
    *,
    monitor: str,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    momentum: float,
    warmup_epochs: float,
    shift: int,
    flip: bool,
) -> pd.DataFrame:
    """Train `network` through `trainer` and leave in it the weights of the best epoch.

    `trainer` is a Keras model whose `train_step` updates `network`; `monitor` is the validation metric to
    maximise (the earliest of equal epochs is taken). SGD with Nesterov momentum; the learning rate rises
    linearly over `warmup_epochs` and then falls to zero along a cosine.

    Returns the history, one row an epoch: metrics, learning rate, seconds.
    """
    batches = Batches(train, batch_size, seed, shift, flip)
    steps = epochs * len(batches)
    warmup = min(int(warmup_epochs * len(batches)), steps - 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else learning_rate,
        steps - warmup,
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    trainer.compile(
        optimizer=keras.optimizers.SGD(schedule, momentum=momentum, nesterov=momentum > 0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,  # XLA is 1.5 times slower here
    )
    observer = _Observer(network, monitor, epochs)
    trainer.fit(
        batches,
        epochs=epochs,
        validation_data=(to_unit(validation.samples), validation.labels),
        validation_batch_size=VALIDATION_BATCH,
        callbacks=[observer],
        shuffle=False,
        verbose=0,
    )
    network.set_weights(observer.best_weights)
    return pd.DataFrame(observer.history)


class _Observer(keras.callbacks.Callback):
    """Keeps the best weights and the history, and shows the progress."""

    def __init__(self, network: keras.Model, monitor: str, epochs: int):
        super().__init__()
        self.network, self.monitor = network, monitor
        self.best, self.best_weights = -np.inf, network.get_weights()
        self.history: list[dict[str, float]] = []
        self.bar: tqdm = progress(range(epochs), "epochs", unit="epoch")

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row["seconds"] = round(time.monotonic() - self.started, 2)
        self.history.append(row)
        if row[self.monitor] > self.best:
            self.best, self.best_weights = row[self.monitor], self.network.get_weights()
        self.bar.set_postfix(loss=f"{row['loss']:.3f}", **{self.monitor: f"{row[self.monitor]:.4f}"})
        self.bar.update()

    def on_train_end(self, logs: dict | None = None) -> None:
        self.bar.close()
