"""A temperature at which the gradient of the cross-entropy neither vanishes nor explodes.

Gupta and Ajanthan (2020, network Jacobian scaling): large logits saturate the softmax, and in a saturated softmax
the gradient is zero or all rounding. Logits are scaled so that the singular values of their Jacobian by the input
have a mean of 1; the decision does not change.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

SAMPLES = 100


def jacobian_temperature(logits: Callable[[tf.Tensor], tf.Tensor], clean: np.ndarray) -> float:
    """Return the mean singular value of the Jacobian of `logits` at the first 100 of `clean` [N, H, W, C].

    Singular values count over the classes [K] of each sample, zeros among them. A network without any gradient
    has temperature 1.
    """
    inputs = tf.convert_to_tensor(clean[:SAMPLES], tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        columns = tf.unstack(logits(inputs), axis=1)
    rows = [tf.reshape(tape.gradient(column, inputs), (len(inputs), -1)).numpy() for column in columns]
    singular = np.linalg.svd(np.stack(rows, axis=1), compute_uv=False)
    return float(singular.mean()) or 1.0
