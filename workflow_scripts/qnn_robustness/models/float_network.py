"""A trained float32 network as a fast function of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from qnn_robustness.common.errors import UserError

BATCH = 250


def load_network(path: str | Path) -> keras.Model:
    """Load a .keras file without running any code it may hold.

    Raises UserError when it is missing or no such file.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not a loadable Keras network ({error})") from None


def logits_function(network: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function, to be compiled, from inputs float32 [N, H, W, C] in [0, 1] to logits [N, K].

    It has gradients in its inputs alone: those in the weights would double the time of an attack.
    """

    def logits(inputs: tf.Tensor) -> tf.Tensor:
        trainable, others = (
            [tf.stop_gradient(variable.value) for variable in variables]
            for variables in (network.trainable_variables, network.non_trainable_variables)
        )
        return network.stateless_call(trainable, others, inputs, training=False)[0]

    return logits


def predict(network: keras.Model, samples: np.ndarray) -> np.ndarray:
    """Return logits (float32 [N, K]) of samples (float32 [N, H, W, C] in [0, 1]), of none as well."""
    signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
    logits = tf.function(logits_function(network), input_signature=[signature])
    parts = [logits(samples[start : start + BATCH]).numpy() for start in range(0, max(len(samples), 1), BATCH)]
    return np.concatenate(parts)


def load_predictor(path: str | Path, kernels: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from samples (float32 [N, H, W, C] in [0, 1]) to logits. `kernels` has no meaning here."""
    network = load_network(path)
    return lambda samples: predict(network, samples)
