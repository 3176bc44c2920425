"""The fitting loop: SGD with a cosine schedule, and accuracy, clean and under attack, as what is watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from qnn_robustness.data.splits import Split
from qnn_robustness.training.fitting.batches import Batches
from qnn_robustness.training.fitting.epochs import cosine_schedule, mean_metrics, run_epochs, signature, slices
from qnn_robustness.training.fitting.objective import VALIDATION, Objective, cross_entropy
from qnn_robustness.training.fitting.perturbation import LinfAttack
from qnn_robustness.training.fitting.resume import ResumeFile


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
    on with the same result as an uninterrupted one. A network that has learned nothing is told in a line of the log.

    Returns the history, one row an epoch: metrics, learning rate, seconds.
    """
    network, material = objective.network, objective.material
    batches = Batches(material.train, batch_size, material.seed, shift, flip, material.static)
    optimizer = keras.optimizers.SGD(
        cosine_schedule(learning_rate, warmup_epochs, epochs, len(batches)), momentum=momentum, nesterov=momentum > 0
    )
    optimizer.build(network.trainable_variables)
    attack = LinfAttack(**validation_attack) if validation_attack else objective.attack
    train_step = _training_step(objective, optimizer, batches[0])
    test_step = _validation_step(objective, attack, next(slices(validation)))

    def train(epoch: int) -> dict[str, float]:
        batches.start_epoch(epoch)
        objective.refresh()
        return mean_metrics(train_step, batches)

    def validate() -> dict[str, float]:
        objective.refresh()
        return mean_metrics(test_step, slices(validation))

    monitor = "val_robust_accuracy" if objective.attack else "val_accuracy"
    history = run_epochs(network, optimizer, train, validate, resume, epochs=epochs, monitor=monitor, patience=patience)
    objective.finish()
    _tell_guessing(history.loc[history[monitor].idxmax()], validation.labels)
    return history


def _tell_guessing(kept: pd.Series, labels: np.ndarray) -> None:
    """Say so if the epoch that is kept is right no more often than who always names the most frequent class.

    Beyond two standard errors, that is. Recipes that are too strong for a network end there, and are results, too.
    """
    guessed = np.bincount(labels).max() / len(labels)
    if kept["val_accuracy"] <= guessed + 2 * np.sqrt(guessed * (1 - guessed) / len(labels)):
        print(
            f"warning: the network has learned nothing: it is right for {kept['val_accuracy']:.1%} of {len(labels)} "
            f"validation samples, and {guessed:.1%} are of one class; set another learning_rate, more epochs, or a "
            "weaker recipe",
            flush=True,
        )


def _training_step(objective: Objective, optimizer: keras.Optimizer, example: Sequence[np.ndarray]) -> Callable:
    network = objective.network

    @tf.function(input_signature=signature(example))
    def step(samples, labels, *others):
        with tf.GradientTape() as tape:
            loss, logits = objective.loss(samples, labels, optimizer.iterations.value, *others)
            loss += sum(network.losses)  # weight decay
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        return {"loss": loss, "accuracy": _accuracy(labels, logits)}

    step.get_concrete_function()  # traced here, so that the first epoch's seconds do not count it
    return step


def _validation_step(objective: Objective, attack: LinfAttack | None, example: Sequence[np.ndarray]) -> Callable:
    @tf.function(input_signature=signature(example))
    def step(samples, labels):
        logits = objective.predict(samples)
        metrics = {"loss": tf.reduce_mean(cross_entropy(labels, logits)), "accuracy": _accuracy(labels, logits)}
        if attack:
            adversarial = objective.adversarial(samples, labels, VALIDATION, attack)
            metrics["robust_accuracy"] = _accuracy(labels, objective.predict(adversarial))
        return metrics

    step.get_concrete_function()
    return step


def _accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    right = tf.argmax(logits, axis=1) == tf.cast(labels, tf.int64)
    return tf.reduce_mean(tf.cast(right, tf.float32))
