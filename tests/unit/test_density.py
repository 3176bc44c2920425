"""Density models against closed forms and against themselves without caches: probabilities, causality, purification."""

from __future__ import annotations

import numpy as np
import pytest
from density_builder import density_file, random_density, random_weights
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import logistic

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import write_arrays
from qnn_robustness.models.density.logistic_mixture import (
    Mixture,
    component_log_probabilities,
    log_probabilities,
    mixture,
    most_probable,
    numbers_per_component,
)
from qnn_robustness.models.density.pixel_cnn import load_density

VALUES = np.arange(256)
LEVELS = 12


def images(channels: int, count: int = 3, height: int = 4, width: int = 5) -> np.ndarray:
    random = np.random.default_rng(channels)
    drawn = random.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    drawn[0, 0], drawn[0, 1] = 0, 255  # where the ball ends at the range of values
    return drawn


def conditional(pixels: Mixture, channel: int, pixel: np.ndarray) -> np.ndarray:
    """Return the log-probabilities [..., 256] of a channel's values given the channels before it in `pixel`."""
    joint = pixels.log_weights
    for before in range(channel):
        own = pixel[..., before, None].astype(np.int64)
        joint = joint + component_log_probabilities(pixels, before, pixel, own)[..., 0, :]
    everywhere = np.broadcast_to(VALUES, (*pixel.shape[:-1], 256))
    terms = joint[..., None, :] + component_log_probabilities(pixels, channel, pixel, everywhere)
    return logsumexp(terms, axis=-1) - logsumexp(joint, axis=-1)[..., None]


@settings(max_examples=30)
@for_all(st.integers(0, 2**32 - 1), st.floats(0.1, 30), st.integers(1, 4))
def test_the_values_of_a_channel_share_a_probability_of_1(seed: int, scale: float, channels: int) -> None:
    random = np.random.default_rng(seed)
    pixels = mixture(random.normal(scale=scale, size=(5, 4 * numbers_per_component(channels))), channels)
    pixel = random.integers(0, 256, (5, channels), dtype=np.uint8)
    for channel in range(channels):
        np.testing.assert_allclose(logsumexp(conditional(pixels, channel, pixel), axis=-1), 0, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 2, 1), (2, 1, 1), (1, 1, 2)])
def test_the_likelihoods_of_all_images_of_two_values_sum_to_1(shape: tuple[int, ...]) -> None:
    every = np.stack(np.meshgrid(VALUES, VALUES, indexing="ij"), axis=-1).reshape(-1, *shape).astype(np.uint8)
    assert np.exp(random_density(shape[-1]).log_probabilities(every)).sum() == pytest.approx(1, abs=1e-9)


def test_a_pixel_is_a_mixture_of_shifted_logistics() -> None:
    random = np.random.default_rng(0)
    outputs = random.normal(size=(3, 2 * numbers_per_component(3)))
    parts = outputs.reshape(3, 10, 2)
    pixel = np.array([[3, 250, 128], [0, 255, 0], [255, 0, 255]], np.uint8)
    for row, expected in zip(parts, pixel, strict=True):
        weights = np.exp(row[0]) / np.exp(row[0]).sum()
        x, total = expected / 127.5 - 1, 0.0
        for k in range(2):
            shifts = np.tanh(row[7:, k])
            centres = row[1:4, k] + [0, shifts[0] * x[0], shifts[1] * x[0] + shifts[2] * x[1]]
            upper = np.where(expected == 255, np.inf, x + 1 / 255)
            lower = np.where(expected == 0, -np.inf, x - 1 / 255)
            scales = np.exp(row[4:7, k])
            total += weights[k] * np.prod(logistic.cdf(upper, centres, scales) - logistic.cdf(lower, centres, scales))
        index = int(np.flatnonzero((parts == row).all(axis=(1, 2)))[0])
        result = log_probabilities(mixture(outputs, 3), pixel)[index]
        assert result == pytest.approx(np.log(total), rel=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_a_pixel_depends_on_are_all_pixels_before_it_and_no_other(channels: int) -> None:
    density, image = random_density(channels), images(channels, 1, 4, 4)
    outputs = density.outputs(image).reshape(16, -1)
    for place in range(16):
        changed = image.copy().reshape(16, channels)
        changed[place] = 255 - changed[place]
        moved = (density.outputs(changed.reshape(image.shape)).reshape(16, -1) != outputs).any(axis=1)
        np.testing.assert_array_equal(moved, np.arange(16) > place)


def test_a_channel_depends_on_the_channels_before_it_and_no_other() -> None:
    density, image = random_density(3), images(3, 1)
    pixels = mixture(density.outputs(image), 3)
    for changed in range(3):
        other = image.copy()
        other[..., changed] = 255 - other[..., changed]
        for channel in range(3):
            same = np.isclose(conditional(pixels, channel, image), conditional(pixels, channel, other)).all()
            assert same == (changed >= channel)


def naively_purified(density, given: np.ndarray) -> np.ndarray:
    """Purify by running the whole network for every pixel."""
    purified = given.copy()
    for row in range(given.shape[1]):
        for column in range(given.shape[2]):
            pixels = mixture(density.outputs(purified)[:, row, column], density.channels)
            purified[:, row, column] = most_probable(pixels, given[:, row, column], LEVELS)
    return purified


@pytest.mark.parametrize("channels", [1, 3])
def test_purification_with_what_earlier_pixels_left_is_that_without(channels: int) -> None:
    density, given = random_density(channels), images(channels)
    purified = density.purified(given, LEVELS)
    np.testing.assert_array_equal(purified, naively_purified(density, given))
    np.testing.assert_array_equal(density.purified(given[2:], LEVELS), purified[2:])  # whatever the batch
    assert (purified != given).mean() > 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_each_value_is_the_most_probable_of_its_ball_given_the_purified_ones_before_it(channels: int) -> None:
    density, given = random_density(channels), images(channels)
    purified = density.purified(given, LEVELS)
    assert np.abs(purified.astype(int) - given).max() <= LEVELS
    pixels = mixture(density.outputs(purified), channels)
    for channel in range(channels):
        logarithms = conditional(pixels, channel, purified)
        inside = np.abs(VALUES - given[..., channel, None].astype(int)) <= LEVELS
        best = np.where(inside, logarithms, -np.inf).max(axis=-1)
        chosen, original = (
            np.take_along_axis(logarithms, of[..., channel, None].astype(int), axis=-1)[..., 0]
            for of in (purified, given)
        )
        np.testing.assert_allclose(chosen, best, atol=1e-9)
        assert (chosen >= original - 1e-9).all()
    before, after = (density.bits_per_dimension(of).mean() for of in (given, purified))
    assert after < before


@pytest.mark.parametrize("channels", [1, 3])
def test_in_one_pass_each_value_is_the_most_probable_given_the_input_before_it(channels: int) -> None:
    density, given = random_density(channels), images(channels)
    purified = density.purified_one_pass(given, LEVELS)
    pixels = mixture(density.outputs(given), channels)
    for channel in range(channels):
        inside = np.abs(VALUES - given[..., channel, None].astype(int)) <= LEVELS
        likely = np.where(inside, conditional(pixels, channel, given), -np.inf)
        np.testing.assert_array_equal(purified[..., channel], likely.argmax(axis=-1))
    assert (purified != density.purified(given, LEVELS)).any()
    np.testing.assert_array_equal(density.purified_one_pass(given, 0), given)


def test_bits_per_dimension_are_those_of_the_conditionals() -> None:
    density, given = random_density(3), images(3)
    pixels = mixture(density.outputs(given), 3)
    total = sum(
        np.take_along_axis(conditional(pixels, channel, given), given[..., channel, None].astype(int), axis=-1)
        for channel in range(3)
    )
    expected = -total.reshape(3, -1).sum(axis=1) / np.log(2) / given[0].size
    np.testing.assert_allclose(density.bits_per_dimension(given), expected)


def test_a_density_model_is_read_as_it_was_written(tmp_path) -> None:
    density, given = load_density(density_file(3)), images(3)
    np.testing.assert_array_equal(density.outputs(given), random_density(3).outputs(given))
    assert density.parameters == sum(values.size for values in random_weights(3).values())
    broken = random_weights(3)
    del broken["link_1/kernel"]
    write_arrays(tmp_path / "broken.npz", **broken)
    with pytest.raises(UserError, match="no density model"):
        load_density(tmp_path / "broken.npz")
    with pytest.raises(UserError, match="no such file"):
        load_density(tmp_path / "missing.npz")
