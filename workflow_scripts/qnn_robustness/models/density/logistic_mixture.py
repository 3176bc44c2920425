"""Discretized mixtures of logistics for the values 0 to 255 of a pixel's channels (Salimans et al. 2017, section 2.1).

The channels of a pixel share the component of the mixture; the centre of each channel is shifted by a linear function
of the channels before it (section 2.2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LOWEST_LOG_SCALE = -7.0  # for values in [-1, 1]: far below the width of a level, where narrower is no difference
TOP = 255  # the largest value


class Mixture(NamedTuple):
    """The distribution of pixels of C channels with K components; values count in [-1, 1], 2 / 255 a level."""

    log_weights: np.ndarray  # [..., K]
    centres: np.ndarray  # [..., C, K], before the shift
    log_scales: np.ndarray  # [..., C, K]
    coefficients: np.ndarray  # [..., C * (C - 1) / 2, K]: of channel 0 in 1, of 0 in 2, of 1 in 2, ...


def numbers_per_component(channels: int) -> int:
    """Return how many outputs of a network describe one component."""
    return 1 + 2 * channels + channels * (channels - 1) // 2


def mixture(outputs: np.ndarray, channels: int) -> Mixture:
    """Return the distributions that outputs [..., K * numbers_per_component] of a network stand for."""
    parts = outputs.reshape(*outputs.shape[:-1], numbers_per_component(channels), -1)
    logits = parts[..., 0, :]
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return Mixture(
        shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)),
        parts[..., 1 : 1 + channels, :],
        np.maximum(parts[..., 1 + channels : 1 + 2 * channels, :], LOWEST_LOG_SCALE),
        np.tanh(parts[..., 1 + 2 * channels :, :]),
    )


def component_log_probabilities(pixels: Mixture, channel: int, before: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the log-probabilities [..., V, K] of a channel's `values` under each component.

    `before` [..., C] are the values of the pixel, of which only those of the channels before count; `values` [..., V]
    are V consecutive whole numbers. What lies below 0 or above 255 has no meaning.
    """
    centre = pixels.centres[..., channel, :]
    first = channel * (channel - 1) // 2
    for other in range(channel):
        centre = centre + pixels.coefficients[..., first + other, :] * in_unit(before[..., other, None])
    sharpness = np.exp(-pixels.log_scales[..., channel, :])[..., None, :]
    edges = np.concatenate([values, values[..., -1:] + 1], axis=-1) - 0.5
    places = (in_unit(edges)[..., None] - centre[..., None, :]) * sharpness
    below = log_sigmoid(places)  # of each edge: the share of the component below it; above it lies the rest
    above = below - places
    # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), without cancellation
    inside = below[..., 1:, :] + above[..., :-1, :] + np.log(-np.expm1(-2 / TOP * sharpness))
    number = values[..., None]
    return np.where(number == 0, below[..., 1:, :], np.where(number == TOP, above[..., :-1, :], inside))


def log_probabilities(pixels: Mixture, images: np.ndarray) -> np.ndarray:
    """Return the log-probability [...] of each pixel of `images`, uint8 [..., C]."""
    joint = pixels.log_weights
    for channel in range(images.shape[-1]):
        values = images[..., channel, None].astype(np.int64)
        joint = joint + component_log_probabilities(pixels, channel, images, values)[..., 0, :]
    largest = joint.max(axis=-1)
    return largest + np.log(np.exp(joint - largest[..., None]).sum(axis=-1))


def most_probable(pixels: Mixture, images: np.ndarray, levels: int, given: np.ndarray | None = None) -> np.ndarray:
    """Return for each value of `images` (uint8 [..., C]) the most probable one at most `levels` away.

    Each channel is conditioned on the channels before it as they have been chosen, or as they are in `given`.
    Of equally probable values it is the lowest.
    """
    chosen = images.copy() if given is None else given
    result = np.empty_like(images)
    offsets = np.arange(-levels, levels + 1)
    joint = pixels.log_weights
    for channel in range(images.shape[-1]):
        values = images[..., channel, None] + offsets
        terms = joint[..., None, :] + component_log_probabilities(pixels, channel, chosen, values)
        terms[(values < 0) | (values > TOP)] = -np.inf
        likely = np.exp(terms - terms.max(axis=(-2, -1), keepdims=True)).sum(axis=-1)
        best = likely.argmax(axis=-1)[..., None]
        result[..., channel] = np.take_along_axis(values, best, axis=-1)[..., 0]
        if given is None:
            chosen[..., channel] = result[..., channel]
            joint = np.take_along_axis(terms, best[..., None], axis=-2)[..., 0, :]
        else:
            same = given[..., channel, None].astype(np.int64)
            joint = joint + component_log_probabilities(pixels, channel, chosen, same)[..., 0, :]
    return result


def in_unit(values: np.ndarray) -> np.ndarray:
    """Return values from 0 to 255 as float64 from -1 to 1."""
    return values * (2 / TOP) - 1


def log_sigmoid(values: np.ndarray) -> np.ndarray:
    return np.minimum(values, 0) - np.log1p(np.exp(-np.abs(values)))
