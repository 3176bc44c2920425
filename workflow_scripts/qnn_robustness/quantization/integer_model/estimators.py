"""How a gradient passes a rounding: the forward pass is exact, the backward pass is one of these estimates.

Rounding itself counts as the identity (straight-through estimator, Bengio et al. 2013, section 4). What
differs is how much passes where the value was clipped, be it at the limits of the integer type or by a
fused activation.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from qnn_robustness.common.errors import UserError, did_you_mean

Gate = Callable[[tf.Tensor, float, float], tf.Tensor]

# The share of the output range over which the smooth gate falls from 3/4 to 1/4.
_SMOOTH_WIDTH = 1 / 32


def straight_through(unclipped: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """1 where the rounded value lies within the limits, otherwise 0: the exact derivative of the clipping."""
    return tf.cast((unclipped >= low) & (unclipped <= high), tf.float32)


def smooth(unclipped: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """The product of two logistic curves centred on the limits: units just clipped pass something.

    This is the derivative of a softplus that is flattened at both ends; gradients do not vanish in units
    that a small step would revive.
    """
    width = _SMOOTH_WIDTH * (high - low) / 2.2 + 1e-6
    return tf.sigmoid((unclipped - low) / width) * tf.sigmoid((high - unclipped) / width)


def unclipped(values: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """1 everywhere: for scores, whose saturation an attacker has to overcome (IntegerModel.logits)."""
    return tf.ones_like(values)


ESTIMATORS: dict[str, Gate] = {"straight_through": straight_through, "smooth": smooth}


def gate_named(name: str) -> Gate:
    """Return the gate of an estimator. Raises UserError for an unknown name."""
    if name not in ESTIMATORS:
        raise UserError(f"estimator '{name}' is unknown; {did_you_mean(name, ESTIMATORS)}")
    return ESTIMATORS[name]


def rounded_and_clipped(
    value: tf.Tensor,
    rounding: Callable[[tf.Tensor], tf.Tensor],
    slope: object,
    low: float,
    high: float,
    gate: Gate,
) -> tf.Tensor:
    """Return clip(rounding(value), low, high) as float32, exactly; its derivative is slope * gate.

    `rounding` returns integers in floating point; `slope` (a number or one for each channel) is the real
    factor that it applies.
    """

    @tf.custom_gradient
    def apply(x: tf.Tensor):
        # Whole numbers beyond float32's are rounded, but stay on their side of the limits.
        unclipped = tf.cast(rounding(x), tf.float32)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.cast(upstream * gate(unclipped, low, high) * tf.cast(slope, tf.float32), x.dtype)

        return tf.clip_by_value(unclipped, float(low), float(high)), gradient

    return apply(value)
