"""Losses of logits that rise towards misclassification, with their derivatives, in float64.

Each takes logits [N, K], labels [N] and targets [N] (used by targeted losses alone) and returns values [N]
and slopes [N, K]: the derivative by the logits, scaled for each sample to a largest entry of one. Attacks use
the direction of the gradient only, and the scaling keeps float32 networks from losing it: the softmax of
confident networks vanishes, and ratios of near ties overflow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qnn_robustness.common.errors import UserError

# Least denominator of the DLR losses. Logits of integer networks tie exactly; a denominator below this counts
# as constant, so that the loss is its numerator, scaled.
SMALLEST_DENOMINATOR = 1e-9

Losses = tuple[np.ndarray, np.ndarray]  # values and slopes
Loss = Callable[[np.ndarray, np.ndarray, np.ndarray], Losses]


def cross_entropy(logits: np.ndarray, labels: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cross-entropy -log softmax(z)_y = log(1 + sum over i != y of exp(z_i - z_y))."""
    rows, others = np.arange(len(labels)), _without(logits, labels)
    largest = others.max(axis=1)
    powers = np.exp(others - largest[:, None])
    totals = powers.sum(axis=1)
    values = np.logaddexp(0, largest + np.log(totals) - logits[rows, labels].astype(np.float64))
    powers[rows, labels] = -totals
    return values, _scaled(powers)


def margin(logits: np.ndarray, labels: np.ndarray, targets: np.ndarray) -> Losses:
    """Return max over i != y of z_i, minus z_y: positive where the sample is misclassified."""
    rows, others = np.arange(len(labels)), _without(logits, labels)
    rival = others.argmax(axis=1)
    slopes = _difference(logits.shape, rival, labels)
    return others[rows, rival] - logits[rows, labels].astype(np.float64), slopes


def dlr(logits: np.ndarray, labels: np.ndarray, targets: np.ndarray) -> Losses:
    """Return the difference of logits ratio, -(z_y - max over i != y of z_i) / (z_(1) - z_(3)).

    Croce and Hein (2020), section 4; z_(k) is the k-th largest logit. Needs three classes.
    """
    numerators, slopes = margin(logits, labels, targets)
    order = _descending(logits)
    return _ratio(logits, numerators, slopes, [(order[:, 0], 1.0), (order[:, 2], -1.0)])


def dlr_targeted(logits: np.ndarray, labels: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the targeted ratio, -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2).

    Croce and Hein (2020), section 4. Needs four classes.
    """
    rows, exact = np.arange(len(labels)), logits.astype(np.float64)
    numerators = exact[rows, targets] - exact[rows, labels]
    order = _descending(logits)
    parts = [(order[:, 0], 1.0), (order[:, 2], -0.5), (order[:, 3], -0.5)]
    return _ratio(logits, numerators, _difference(logits.shape, targets, labels), parts)


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "dlr": dlr, "dlr_targeted": dlr_targeted, "margin": margin}
FEWEST_CLASSES = {"ce": 2, "dlr": 3, "dlr_targeted": 4, "margin": 2}


def check_classes(loss: str, classes: int) -> None:
    """Raise UserError if `loss` is not defined for this number of classes."""
    if classes < FEWEST_CLASSES[loss]:
        raise UserError(
            f"loss '{loss}' needs at least {FEWEST_CLASSES[loss]} classes, the network has {classes}; "
            "use 'margin' or 'ce'"
        )


def ranked_class(logits: np.ndarray, labels: np.ndarray, rank: int) -> np.ndarray:
    """Return the wrong class with the `rank`-th largest logit (1: the runner-up), int64 [N]."""
    return _descending(_without(logits, labels))[:, rank - 1]


def _descending(logits: np.ndarray) -> np.ndarray:
    return np.argsort(-logits.astype(np.float64), axis=1, kind="stable")


def _without(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the logits with that of the label at minus infinity, float64."""
    others = logits.astype(np.float64)
    others[np.arange(len(labels)), labels] = -np.inf
    return others


def _difference(shape: tuple[int, int], plus: np.ndarray, minus: np.ndarray) -> np.ndarray:
    """Return the derivative of z_plus - z_minus."""
    rows, slopes = np.arange(shape[0]), np.zeros(shape)
    slopes[rows, plus] += 1
    slopes[rows, minus] -= 1
    return slopes


def _ratio(
    logits: np.ndarray, numerators: np.ndarray, slopes: np.ndarray, parts: list[tuple[np.ndarray, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return numerators / denominators and the slopes; the denominator is a sum of weighted logits."""
    rows = np.arange(len(logits))
    sums = sum(weight * logits[rows, classes].astype(np.float64) for classes, weight in parts)
    denominators = np.maximum(sums, SMALLEST_DENOMINATOR)
    values = numerators / denominators
    slopes = slopes.copy()
    for classes, weight in parts:
        slopes[rows, classes] -= np.where(sums > SMALLEST_DENOMINATOR, values * weight, 0)
    return values, _scaled(slopes)


def _scaled(slopes: np.ndarray) -> np.ndarray:
    largest = np.abs(slopes).max(axis=1, keepdims=True)
    return slopes / np.where(largest > 0, largest, 1)
