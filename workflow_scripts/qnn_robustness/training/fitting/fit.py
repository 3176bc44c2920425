"""The fitting loop: SGD with a cosine schedule, the best validation checkpoint, a history, a progress bar."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

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
    history, best, best_weights = [], -np.inf, network.get_weights()
    bar = progress(range(epochs), "epochs", unit="epoch")
    for epoch in bar:
        started = time.monotonic()
        batches.start_epoch(epoch)
        row = {"epoch": epoch + 1, **_pass(trainer, trainer.train_on_batch, batches)}
        checks = _pass(trainer, trainer.test_on_batch, _slices(validation))
        row |= {f"val_{name}": value for name, value in checks.items()}
        row |= {
            "learning_rate": float(trainer.optimizer.learning_rate),
            "seconds": time.monotonic() - started,
        }
        history.append(row)
        if row[monitor] > best:
            best, best_weights = row[monitor], network.get_weights()
        bar.set_postfix(loss=f"{row['loss']:.3f}", **{monitor: f"{row[monitor]:.4f}"})
    network.set_weights(best_weights)
    return pd.DataFrame(history)


def _pass(trainer: keras.Model, step: Callable, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Take one step a batch and return the mean of each metric over all samples.

    Batch by batch rather than by Keras' `fit`: its tf.data pipeline has threads of its own, which starve
    when there are as many jobs as cores.
    """
    totals, count = Counter(), 0
    for samples, labels in batches:
        trainer.reset_metrics()
        metrics = step(samples, labels, return_dict=True)
        totals.update({name: float(value) * len(labels) for name, value in metrics.items()})
        count += len(labels)
    return {name: total / count for name, total in totals.items()}


def _slices(split: Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(split.labels), VALIDATION_BATCH):
        part = slice(start, start + VALIDATION_BATCH)
        yield to_unit(split.samples[part]), split.labels[part]
