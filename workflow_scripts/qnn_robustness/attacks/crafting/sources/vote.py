"""The vote of the three precisions of a network, with gradients: those of the mean of their logits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import tensorflow as tf
from foolbox.models import Model

from qnn_robustness.attacks.crafting.sources import View, integer_model
from qnn_robustness.attacks.crafting.sources.differentiable import Logits, seen
from qnn_robustness.common.vote import parted
from qnn_robustness.models.float_network import load_network, logits_function
from qnn_robustness.quantization.integer_model.model import IntegerModel

LEAD = 1e-3  # of the class that is voted for over logits that say otherwise, as a share of these


def load(paths: Sequence[str], kernels: str, view: View) -> Model:
    """Return the vote of the files of float32, int16 and int8, each on its kernel set."""
    network = load_network(paths[0])
    integer = [
        partial(IntegerModel.from_file(path, name, view.estimator).logits, through_saturation=True)
        for path, name in zip(paths[1:], parted(kernels)[1:], strict=True)
    ]
    return seen(voted([logits_function(network), *integer]), network.input_shape[1:], view)


def voted(members: Sequence[Logits]) -> Logits:
    """Return logits [N, K] whose arg-max is the majority of the three `members` (see common.vote).

    They are the mean of the members' logits, an attacker's view of an ensemble (Dong et al. 2018, momentum, fuse the
    logits likewise). Where its arg-max is another class than the majority, the logit of the latter is raised above it
    by a constant; so attacks go on until the vote itself is wrong, and gradients are those of the mean.
    """

    def logits(inputs: tf.Tensor) -> tf.Tensor:
        outputs = tf.stack([member(inputs) for member in members])
        float32, int16, int8 = tf.unstack(tf.argmax(outputs, axis=-1))
        winner = tf.one_hot(tf.where(int16 == int8, int16, float32), outputs.shape[-1])
        mean = tf.reduce_mean(outputs, axis=0)
        others = tf.reduce_max(tf.where(winner > 0, -np.inf, mean), axis=-1, keepdims=True)
        own = tf.reduce_sum(winner * mean, axis=-1, keepdims=True)
        lead = LEAD * tf.maximum(1.0, tf.abs(others))
        return mean + tf.stop_gradient(winner * tf.where(own > others, 0.0, others + lead - own))

    return logits


def mismatches(paths: Sequence[str], kernels: str, inputs: np.ndarray) -> int:
    """Return the differing output bytes between the integer networks and the TFLite interpreter: 0.

    Raises UserError when any byte differs.
    """
    pairs = zip(paths[1:], parted(kernels)[1:], strict=True)
    return sum(integer_model.mismatches(path, name, inputs) for path, name in pairs)
