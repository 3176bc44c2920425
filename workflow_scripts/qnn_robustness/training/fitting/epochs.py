"""The epochs of a training: progress bar, history, the best checkpoint, and where an interrupted one goes on."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.progress import progress
from qnn_robustness.data.splits import Split, to_unit
from qnn_robustness.training.fitting.resume import ResumeFile

VALIDATION_BATCH = 500


def make_deterministic(seed: int) -> None:
    """Seed every generator; the same seed and number of threads then give the same weights."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def run_epochs(
    network: keras.Model,
    optimizer: keras.Optimizer,
    train: Callable[[int], dict[str, float]],
    validate: Callable[[], dict[str, float]],
    resume: ResumeFile,
    *,
    epochs: int,
    monitor: str,
    lowest: bool = False,
    patience: int | None = None,
) -> pd.DataFrame:
    """Train for `epochs` and leave in `network` the weights of the best one.

    `train` takes the number of an epoch (from 0), changes the weights, and returns metrics, `loss` among them;
    `validate` returns those of validation. The best epoch is the earliest with the highest, or `lowest`, value of
    `monitor`, one of the columns of the history. With `patience`, training ends after that many epochs without a
    better one.

    Returns the history, one row an epoch: metrics, those of validation with `val_` before them, learning rate, seconds.

    Raises UserError when the loss or a weight is no number any more.
    """
    state = _State(network, optimizer, monitor, -1 if lowest else 1)
    state.restore(resume.load())
    if state.history:
        print(f"going on after epoch {len(state.history)} of {epochs}", flush=True)
    for epoch in (bar := progress(range(len(state.history), epochs), "epochs", unit="epoch")):
        if patience is not None and state.epochs_since_best() >= patience:
            break
        started = time.monotonic()
        row = {"epoch": epoch + 1, **train(epoch)}
        _expect_finite(row, "loss", epoch)
        row |= {f"val_{name}": value for name, value in validate().items()}
        _expect_finite(row, "val_loss", epoch)
        _expect_finite_weights(network, epoch)
        row |= {"learning_rate": float(optimizer.learning_rate), "seconds": time.monotonic() - started}
        state.add(row)
        resume.save(state.arrays())
        bar.set_postfix(loss=f"{row['loss']:.3f}", **{monitor: f"{row[monitor]:.4f}"})
    network.set_weights(state.best_weights)
    return pd.DataFrame(state.history)


def _expect_finite(row: dict[str, float], name: str, epoch: int) -> None:
    if name in row and not np.isfinite(row[name]):
        raise _diverged(f"the {name} is {row[name]}", epoch)


def _expect_finite_weights(network: keras.Model, epoch: int) -> None:
    """Refuse weights that are no numbers: ReLU and fake quantization can hide them from the loss."""
    for variable in network.variables:
        if not np.isfinite(variable.numpy()).all():
            raise _diverged(f"{variable.path} holds nan or inf", epoch)


def _diverged(found: str, epoch: int) -> UserError:
    return UserError(
        f"{found} in epoch {epoch + 1}; set a lower learning_rate, or less weight on what the recipe adds to the loss"
    )


class _State:
    """What an epoch leaves to the next one. Batches and random draws follow from seed, epoch and step."""

    def __init__(self, network: keras.Model, optimizer: keras.Optimizer, monitor: str, sign: int):
        self.network, self.optimizer, self.monitor, self.sign = network, optimizer, monitor, sign
        self.history: list[dict[str, float]] = []
        self.best_weights = network.get_weights()

    def epochs_since_best(self) -> int:
        scores = [self.sign * row[self.monitor] for row in self.history]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    def add(self, row: dict[str, float]) -> None:
        self.history.append(row)
        if self.epochs_since_best() == 0:
            self.best_weights = self.network.get_weights()

    def arrays(self) -> dict[str, np.ndarray]:
        named = {"history": np.array(json.dumps(self.history))}
        for group, values in self._variables().items():
            named |= {f"{group}_{index}": value.numpy() for index, value in enumerate(values)}
        return named | {f"best_{index}": value for index, value in enumerate(self.best_weights)}

    def restore(self, arrays: dict[str, np.ndarray] | None) -> None:
        if arrays is None:
            return
        self.history = json.loads(str(arrays["history"]))
        for group, values in self._variables().items():
            for index, value in enumerate(values):
                value.assign(arrays[f"{group}_{index}"])
        self.best_weights = [arrays[f"best_{index}"] for index in range(len(self.best_weights))]

    def _variables(self) -> dict[str, Sequence[keras.Variable]]:
        """Return weights and generators of dropout, and the optimizer's momenta and position in the schedule."""
        return {"network": self.network.variables, "optimizer": self.optimizer.variables}


def cosine_schedule(learning_rate: float, warmup_epochs: float, epochs: int, batches: int) -> Any:
    """Return a learning rate that rises linearly over `warmup_epochs`, of `batches` steps, and falls along a cosine."""
    steps = epochs * batches
    warmup = min(int(warmup_epochs * batches), steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else learning_rate,
        steps - warmup,
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def signature(arrays: Sequence[np.ndarray]) -> list[tf.TensorSpec]:
    """Return the signature of batches of any size: one graph serves the last, smaller one too."""
    return [tf.TensorSpec((None, *array.shape[1:]) if array.ndim else (), array.dtype) for array in arrays]


def mean_metrics(step: Callable, batches: Iterable[Sequence[np.ndarray]]) -> dict[str, float]:
    """Take one step a batch and return the mean of each metric over all samples.

    The first loss that is no number ends it, and is what is returned. Batch by batch rather than by Keras' `fit`: its
    tf.data pipeline has threads of its own, which starve when there are as many jobs as cores.
    """
    totals, count = Counter(), 0
    for batch in batches:
        size, metrics = len(batch[1]), {name: float(value) for name, value in step(*batch).items()}
        if not np.isfinite(metrics["loss"]):
            return metrics
        totals.update({name: value * size for name, value in metrics.items()})
        count += size
    return {name: total / count for name, total in totals.items()}


def slices(split: Split, size: int = VALIDATION_BATCH) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield a split in order, as samples float32 [B, H, W, C] in [0, 1] and labels [B]."""
    for start in range(0, len(split.labels), size):
        part = slice(start, start + size)
        yield to_unit(split.samples[part]), split.labels[part]
