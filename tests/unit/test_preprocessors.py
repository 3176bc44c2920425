"""Preprocessors against other implementations, exact answers and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from density_builder import density_file, random_density
from scipy.fft import dctn, idctn

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.defenses import bit_depth, jpeg, median_smoothing, random_resize_pad
from qnn_robustness.defenses.shared.preprocessor import Preprocessor

RANDOM = np.random.default_rng(0)
SAMPLES = RANDOM.random((5, 8, 6, 3), dtype=np.float32)
ENTRIES = {
    "bit_depth": {"bits": 4},
    "median_smoothing": {"window": 3},
    "jpeg": {"quality": 50},
    "random_resize_pad": {"smallest": 0.5},
    "pixel_defend": {"density": density_file(3), "epsilon": 12 / 255},
    "pixel_defend_one_pass": {"density": density_file(3), "epsilon": 12 / 255},
}
# The luminance table of the JPEG standard (ITU-T T.81, table K.1): what quality 50 divides by.
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


def preprocessor(method: str) -> Preprocessor:
    return Preprocessor.of({"method": method, "parameters": ENTRIES[method]})


def test_every_method_is_tested_here() -> None:
    assert set(ENTRIES) == set(registry.names("defenses"))


@pytest.mark.parametrize("bits", range(1, 9))
def test_bit_depth_is_that_of_art(bits: int) -> None:
    from art.defences.preprocessor import FeatureSqueezing

    expected, _ = FeatureSqueezing(clip_values=(0, 1), bit_depth=bits)(SAMPLES)
    result = bit_depth.apply(SAMPLES, bits=bits)
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert len(np.unique(result)) <= 2**bits


@pytest.mark.parametrize("window", [2, 3, 4])
def test_the_median_is_that_of_art_and_of_sorting(window: int) -> None:
    from art.defences.preprocessor import SpatialSmoothing

    result = median_smoothing.apply(SAMPLES, window=window)
    expected, _ = SpatialSmoothing(window_size=window, channels_first=False)(SAMPLES)
    np.testing.assert_array_equal(result, expected)
    before, after = window // 2, (window - 1) // 2
    padded = np.pad(SAMPLES, ((0, 0), (before, after), (before, after), (0, 0)), mode="symmetric")
    for row, column in ((0, 0), (3, 5), (7, 2)):
        around = padded[:, row : row + window, column : column + window].reshape(5, window**2, 3)
        np.testing.assert_array_equal(result[:, row, column], np.sort(around, axis=1)[:, window**2 // 2])


def test_jpeg_is_the_quantized_cosine_transform() -> None:
    images = RANDOM.integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)
    result = jpeg.apply(images / np.float32(255), quality=50)
    coefficients = dctn(images[..., 0] - 128.0, axes=(1, 2), norm="ortho")
    decoded = idctn(np.round(coefficients / LUMINANCE) * LUMINANCE, axes=(1, 2), norm="ortho") + 128
    # libjpeg's integer transform may round a coefficient or a pixel the other way: at most a few pixels by one level
    far = np.abs(result[..., 0] * 255 - np.clip(decoded, 0, 255))
    assert np.median(far) < 0.5
    assert far.max() < 1.5


def test_jpeg_keeps_brightness_at_each_pixel_and_colours_at_half_the_resolution() -> None:
    """Columns of one pixel: brightness that alternates stays apart, colours of one brightness become their mean."""
    grey = np.tile(np.array([[60] * 3, [200] * 3], np.uint8), (16, 8, 1))
    colours = np.tile(np.array([[200, 40, 60], [40, 114, 120]], np.uint8), (16, 8, 1))  # of brightness 90
    kept, mixed = (jpeg.apply(images[None] / np.float32(255), quality=95)[0] * 255 for images in (grey, colours))
    assert np.abs(kept - grey).max() < 15
    assert np.abs(mixed - colours.mean(axis=(0, 1))).max() < 15


def test_jpeg_takes_grey_and_colour_images_only() -> None:
    assert jpeg.apply(SAMPLES, quality=75).shape == SAMPLES.shape
    with pytest.raises(UserError, match="2 channels; expected 1"):
        jpeg.apply(SAMPLES[..., :2], quality=75)


def test_resizing_takes_the_nearest_pixel_and_pads_with_zeros() -> None:
    draws = random_resize_pad.draw(np.random.default_rng(3), (8, 6, 3), smallest=0.5)[None]
    rows, columns, top, left = draws[0]
    result = random_resize_pad.apply(SAMPLES[:1], draws, smallest=0.5)[0]
    inside = result[top : top + rows, left : left + columns]
    for i in range(rows):
        for j in range(columns):
            pixel = SAMPLES[0, int((i + 0.5) * 8 / rows), int((j + 0.5) * 6 / columns)]
            np.testing.assert_array_equal(inside[i, j], pixel)
    assert result.sum() == pytest.approx(inside.sum())
    whole = np.array([[8, 6, 0, 0]])
    np.testing.assert_array_equal(random_resize_pad.apply(SAMPLES[:1], whole, smallest=0.5), SAMPLES[:1])


def test_every_size_and_place_is_drawn() -> None:
    generator = np.random.default_rng(0)
    draws = np.array([random_resize_pad.draw(generator, (8, 8, 3), smallest=0.5) for _ in range(500)])
    assert set(draws[:, 0]) == set(range(4, 9))
    assert (draws[:, 0] == draws[:, 1]).all()
    small = draws[draws[:, 0] == 4]
    assert set(small[:, 2]) == set(small[:, 3]) == set(range(5))


@pytest.mark.parametrize(("smallest", "height", "expected"), [(0.55, 100, 55), (0.14, 50, 7), (0.801, 100, 81)])
def test_the_smallest_size_is_the_share_itself(smallest: float, height: int, expected: int) -> None:
    """As a float, 0.55 x 100 is a little more than 55."""
    drawn = [random_resize_pad.draw(np.random.default_rng(i), (height, 8, 1), smallest=smallest) for i in range(900)]
    assert min(draw[0] for draw in drawn) == expected


@pytest.mark.parametrize("method", ["pixel_defend", "pixel_defend_one_pass"])
def test_purified_samples_are_8_bit_images_in_the_ball_of_the_rounded_ones(method: str) -> None:
    front, images = preprocessor(method), np.rint(SAMPLES * 255).astype(np.uint8)
    result = front.apply(SAMPLES)
    purified = np.rint(result * 255).astype(np.uint8)
    np.testing.assert_array_equal(result, purified / np.float32(255))
    assert np.abs(purified.astype(int) - images).max() == 12
    np.testing.assert_array_equal(front.apply(images / np.float32(255)), result)
    density = random_density(3)
    expected = {"pixel_defend": density.purified, "pixel_defend_one_pass": density.purified_one_pass}[method]
    np.testing.assert_array_equal(purified, expected(images, 12))
    with pytest.raises(UserError, match="of images of 3 channels; these have 1"):
        front.apply(SAMPLES[..., :1])


def test_purification_uses_each_weight_once_a_pixel() -> None:
    front, weights = preprocessor("pixel_defend"), random_density(3).parameters
    none = Preprocessor(front.method, {**front.parameters, "epsilon": 0.0})
    assert none.operations((8, 6, 3)) > 2 * 8 * 6 * weights
    per_value = front.operations((8, 6, 3)) - none.operations((8, 6, 3))
    assert per_value == 8 * 6 * 3 * 24 * 3 * 14  # 24 more values are tried, under each of 3 components
    assert front.operations((8, 12, 3)) == 2 * front.operations((8, 6, 3))


@pytest.mark.parametrize("method", ["median_smoothing", "random_resize_pad"])
def test_exact_gradients_are_those_of_finite_differences(method: str) -> None:
    front = preprocessor(method)
    draws = front.draw([np.random.default_rng(i) for i in range(5)], SAMPLES.shape[1:])
    upstream = RANDOM.normal(size=SAMPLES.shape).astype(np.float32)
    gradients = front.pull_back(upstream, SAMPLES, draws)
    step = 1e-4  # far below the gaps between values of one window, so that medians stay where they are
    for place in [(0, 0, 0), (3, 4, 1), (7, 5, 2), (2, 0, 0)]:
        moved = [SAMPLES.copy() for _ in range(2)]
        moved[0][(slice(None), *place)] += step
        moved[1][(slice(None), *place)] -= step
        up, down = (front.apply(samples, draws).astype(np.float64) for samples in moved)
        difference = ((up - down) * upstream).reshape(5, -1).sum(axis=1) / (2 * step)
        np.testing.assert_allclose(gradients[(slice(None), *place)], difference, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("method", ENTRIES)
def test_outputs_are_inputs_of_a_network_and_belong_to_their_sample(method: str) -> None:
    front = preprocessor(method)
    whole = front.deployed(SAMPLES, [4, 9, 2, 7, 1])
    assert (whole.dtype, whole.shape) == (np.float32, SAMPLES.shape)
    assert whole.min() >= 0
    assert whole.max() <= 1
    np.testing.assert_array_equal(front.deployed(SAMPLES[[3, 1]], [7, 9]), whole[[3, 1]])
    again = front.deployed(SAMPLES, [5, 9, 2, 7, 1])  # another place in the test split: other random numbers
    assert (again[0] != whole[0]).any() == front.randomised
    np.testing.assert_array_equal(again[1:], whole[1:])
