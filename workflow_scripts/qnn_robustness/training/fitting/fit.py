"""The fitting loop: SGD with a cosine schedule, the best validation checkpoint, a history, a progress bar."""

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

from qnn_robustness.common.progress import progress
from qnn_robustness.data.splits import Split, to_unit
from qnn_robustness.training.fitting.batches import Batches
from qnn_robustness.training.fitting.objective import VALIDATION, Objective, cross_entropy
from qnn_robustness.training.fitting.perturbation import LinfAttack
from qnn_robustness.training.fitting.resume import ResumeFile

VALIDATION_BATCH = 500


def make_deterministic(seed: int) -> None:
    """Seed every generator; the same seed and number of threads then give the same weights."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def fit(
    objective: Objective,
    validation: Split,
    resume: ResumeFile,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    momentum: float,
    warmup_epochs: float,
    shift: int,
    flip: bool,
    patience: int | None,
    validation_attack: dict[str, Any] | None,
) -> pd.DataFrame:
    """Minimise `objective` and leave in its network the weights of the best epoch.

    The best epoch is the earliest with the highest validation accuracy: on perturbed samples for an objective
    that has an attack of its own, on clean ones otherwise. `validation_attack` (epsilon, step_size, steps)
    replaces the objective's attack in validation. With `patience`, training ends after that many epochs
    without a better one. SGD with Nesterov momentum; the learning rate rises linearly over `warmup_epochs` and
    then falls to zero along a cosine.

    After each epoch all that the next one depends on goes to `resume`, from where an interrupted training goes
    on with the same result as an uninterrupted one.

    Returns the history, one row an epoch: metrics, learning rate, seconds.
    """
    network, material = objective.network, objective.material
    batches = Batches(material.train, batch_size, material.seed, shift, flip, material.static)
    optimizer = keras.optimizers.SGD(
        _schedule(learning_rate, warmup_epochs, epochs, len(batches)), momentum=momentum, nesterov=momentum > 0
    )
    optimizer.build(network.trainable_variables)
    monitor = "val_robust_accuracy" if objective.attack else "val_accuracy"
    attack = LinfAttack(**validation_attack) if validation_attack else objective.attack
    train_step = _training_step(objective, optimizer, batches[0])
    test_step = _validation_step(objective, attack, next(_slices(validation)))

    state = _State(network, optimizer)
    state.restore(resume.load())
    for epoch in (bar := progress(range(len(state.history), epochs), "epochs", unit="epoch")):
        if patience is not None and state.epochs_since_best(monitor) >= patience:
            break
        started = time.monotonic()
        batches.start_epoch(epoch)
        objective.refresh()
        row = {"epoch": epoch + 1, **_pass(train_step, batches)}
        objective.refresh()
        row |= {f"val_{name}": value for name, value in _pass(test_step, _slices(validation)).items()}
        row |= {"learning_rate": float(optimizer.learning_rate), "seconds": time.monotonic() - started}
        state.add(row, monitor)
        resume.save(state.arrays())
        bar.set_postfix(loss=f"{row['loss']:.3f}", **{monitor: f"{row[monitor]:.4f}"})
    network.set_weights(state.best_weights)
    return pd.DataFrame(state.history)


class _State:
    """What an epoch leaves to the next one. Batches and random draws follow from seed, epoch and step."""

    def __init__(self, network: keras.Model, optimizer: keras.Optimizer):
        self.network, self.optimizer = network, optimizer
        self.history: list[dict[str, float]] = []
        self.best_weights = network.get_weights()

    def epochs_since_best(self, monitor: str) -> int:
        scores = [row[monitor] for row in self.history]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    def add(self, row: dict[str, float], monitor: str) -> None:
        self.history.append(row)
        if self.epochs_since_best(monitor) == 0:
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
        print(f"continuing after epoch {len(self.history)}")

    def _variables(self) -> dict[str, Sequence[keras.Variable]]:
        """Return weights and generators of dropout, and the optimizer's momenta and position in the schedule."""
        return {"network": self.network.variables, "optimizer": self.optimizer.variables}


def _schedule(learning_rate: float, warmup_epochs: float, epochs: int, batches: int) -> Any:
    steps = epochs * batches
    warmup = min(int(warmup_epochs * batches), steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else learning_rate,
        steps - warmup,
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def _training_step(objective: Objective, optimizer: keras.Optimizer, example: Sequence[np.ndarray]) -> Callable:
    network = objective.network

    @tf.function(input_signature=_signature(example))
    def step(samples, labels, *others):
        with tf.GradientTape() as tape:
            loss, logits = objective.loss(samples, labels, optimizer.iterations.value, *others)
            loss += sum(network.losses)  # weight decay
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        return {"loss": loss, "accuracy": _accuracy(labels, logits)}

    step.get_concrete_function()  # traced here, so that the first epoch's seconds do not count it
    return step


def _validation_step(objective: Objective, attack: LinfAttack | None, example: Sequence[np.ndarray]) -> Callable:
    @tf.function(input_signature=_signature(example))
    def step(samples, labels):
        logits = objective.predict(samples)
        metrics = {"loss": tf.reduce_mean(cross_entropy(labels, logits)), "accuracy": _accuracy(labels, logits)}
        if attack:
            adversarial = objective.adversarial(samples, labels, VALIDATION, attack)
            metrics["robust_accuracy"] = _accuracy(labels, objective.predict(adversarial))
        return metrics

    step.get_concrete_function()
    return step


def _signature(arrays: Sequence[np.ndarray]) -> list[tf.TensorSpec]:
    """Return the signature of batches of any size: one graph serves the last, smaller one too."""
    return [tf.TensorSpec((None, *array.shape[1:]) if array.ndim else (), array.dtype) for array in arrays]


def _accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    right = tf.argmax(logits, axis=1) == tf.cast(labels, tf.int64)
    return tf.reduce_mean(tf.cast(right, tf.float32))


def _pass(step: Callable, batches: Iterable[Sequence[np.ndarray]]) -> dict[str, float]:
    """Take one step a batch and return the mean of each metric over all samples.

    Batch by batch rather than by Keras' `fit`: its tf.data pipeline has threads of its own, which starve
    when there are as many jobs as cores.
    """
    totals, count = Counter(), 0
    for batch in batches:
        size = len(batch[1])
        totals.update({name: float(value) * size for name, value in step(*batch).items()})
        count += size
    return {name: total / count for name, total in totals.items()}


def _slices(split: Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(split.labels), VALIDATION_BATCH):
        part = slice(start, start + VALIDATION_BATCH)
        yield to_unit(split.samples[part]), split.labels[part]
