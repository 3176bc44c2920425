"""Entropic optimal transport between the points of two batches, in the log domain."""

from __future__ import annotations

import tensorflow as tf

SETTLED = 1e-4  # largest change of a potential, as a share of the regularisation, at which iterations end


def sinkhorn_divergence(first: tf.Tensor, second: tf.Tensor, regularisation: float, iterations: int) -> tf.Tensor:
    """Return OT(first, second) - OT(first, first)/2 - OT(second, second)/2, a scalar: 0 for equal batches.

    `first` and `second` are [B, D] and [B', D], their points of equal weight, the cost the squared Euclidean distance
    (Genevay et al. 2018, equation 4; Feydy et al. 2019, equation 3).
    """
    costs = [squared_distances(*pair) for pair in ((first, second), (first, first), (second, second))]
    if first.shape[0] == second.shape[0]:
        between, within, within_other = tf.unstack(transport_cost(tf.stack(costs), regularisation, iterations))
    else:
        between, within, within_other = (transport_cost(cost[None], regularisation, iterations)[0] for cost in costs)
    return between - (within + within_other) / 2


def squared_distances(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Return the squared Euclidean distances [B, B'] between the rows of two tensors."""
    return tf.reduce_sum((first[:, None] - second[None, :]) ** 2, axis=2)


def transport_cost(costs: tf.Tensor, regularisation: float, iterations: int) -> tf.Tensor:
    """Return min_P <P, C> + regularisation * KL(P || uniform) for each cost matrix, [M] for `costs` [M, B, B'].

    P runs over the plans with uniform marginals. At most `iterations` of Sinkhorn's algorithm, on the dual
    potentials. The value is that of the dual, a lower bound before the iterations have settled; the gradient by
    the costs is the plan itself, since the value is stationary in the potentials (envelope theorem).
    """
    fixed = tf.stop_gradient(costs)

    def going_on(step, _, change):
        return (step < iterations) & (change > SETTLED * regularisation)

    def iterate(step, columns, _):
        rows = _soft_minimum(fixed - columns[:, None, :], regularisation, axis=2)
        updated = _soft_minimum(fixed - rows[:, :, None], regularisation, axis=1)
        return step + 1, updated, tf.reduce_max(tf.abs(updated - columns))

    start = (0, tf.zeros_like(fixed[:, 0, :]), tf.constant(float("inf"), fixed.dtype))
    _, columns, _ = tf.while_loop(going_on, iterate, start)
    columns = tf.stop_gradient(columns)
    rows = _soft_minimum(costs - columns[:, None, :], regularisation, axis=2)
    return tf.reduce_mean(rows, axis=1) + tf.reduce_mean(columns, axis=1)


def _soft_minimum(values: tf.Tensor, regularisation: float, axis: int) -> tf.Tensor:
    """Return -r log mean exp(-values / r) along an axis."""
    count = tf.cast(tf.shape(values)[axis], values.dtype)
    return -regularisation * (tf.reduce_logsumexp(-values / regularisation, axis=axis) - tf.math.log(count))
