"""From images to a density model on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import write_arrays, write_text
from qnn_robustness.data.splits import Split
from qnn_robustness.models.density.logistic_mixture import TOP
from qnn_robustness.training.density.network import TrainablePixelCNN
from qnn_robustness.training.fitting.batches import Batches
from qnn_robustness.training.fitting.epochs import (
    cosine_schedule,
    make_deterministic,
    mean_metrics,
    run_epochs,
    signature,
    slices,
)
from qnn_robustness.training.fitting.resume import ResumeFile

GRADIENT_NORM = 1.0  # longer gradients are cut: early steps through narrow logistics can be a thousand times as long


def train_density(
    train: Split,
    validation: Split,
    *,
    width: int,
    layers: int,
    mixtures: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    warmup_epochs: float,
    flip: bool,
    seed: int,
    density_path: str | Path,
    history_path: str | Path,
    resume: ResumeFile,
) -> None:
    """Minimise the bits per dimension of `train` with Adam; write the weights (.npz) and the history (.csv).

    The weights are those of the epoch with the fewest bits per dimension on `validation`.
    The learning rate rises linearly over `warmup_epochs` and falls to zero along a cosine. A training that was
    interrupted continues from `resume`, which is removed at the end.

    Raises UserError for samples that are no 8-bit images, and when there is no validation sample.
    """
    if train.samples.dtype != np.uint8:
        raise UserError("a density model is one of 8-bit images; the samples of this data set are features")
    if not len(validation):
        raise UserError("the validation split is empty; set validation_samples of the data set")
    make_deterministic(seed)
    network = TrainablePixelCNN(train.samples.shape[-1], width, layers, mixtures)
    batches = Batches(train, batch_size, seed, flip=flip)
    optimizer = keras.optimizers.Adam(
        cosine_schedule(learning_rate, warmup_epochs, epochs, len(batches)), global_clipnorm=GRADIENT_NORM
    )
    optimizer.build(network.trainable_variables)
    train_step, test_step = _training_step(network, optimizer, batches[0]), _validation_step(network, batches[0])

    def train_epoch(epoch: int) -> dict[str, float]:
        batches.start_epoch(epoch)
        return mean_metrics(train_step, batches)

    def validate() -> dict[str, float]:
        return mean_metrics(test_step, slices(validation, batch_size))

    history = run_epochs(
        network, optimizer, train_epoch, validate, resume, epochs=epochs, monitor="val_loss", lowest=True
    )
    bits = {"loss": "bits_per_dimension", "val_loss": "val_bits_per_dimension"}
    write_arrays(density_path, **network.arrays())
    write_text(history_path, history.rename(columns=bits).to_csv(index=False))
    resume.remove()


def _training_step(network: TrainablePixelCNN, optimizer: keras.Optimizer, example: Sequence[np.ndarray]) -> Callable:
    @tf.function(input_signature=signature(example))
    def step(samples, labels):
        with tf.GradientTape() as tape:
            loss = _loss(network, samples)
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        return {"loss": loss}

    step.get_concrete_function()
    return step


def _validation_step(network: TrainablePixelCNN, example: Sequence[np.ndarray]) -> Callable:
    step = tf.function(lambda samples, labels: {"loss": _loss(network, samples)}, input_signature=signature(example))
    step.get_concrete_function()
    return step


def _loss(network: TrainablePixelCNN, samples: tf.Tensor) -> tf.Tensor:
    """Return the mean bits per dimension of samples in [0, 1], which are 8-bit images."""
    return tf.reduce_mean(network.bits_per_dimension(tf.round(samples * TOP)))
