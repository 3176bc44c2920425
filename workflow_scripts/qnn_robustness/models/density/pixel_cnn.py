"""A gated PixelCNN (van den Oord et al. 2016) whose outputs are mixtures of logistics, run by NumPy in float64.

The network reads an image row by row, and gives for each pixel the distribution of its channels, given the pixels
before it. A vertical stack sees the rows above, a horizontal one the pixels to the left and the vertical stack; both
have gates and residual connections (section 2.2 and figure 2).

In float64, and so from batch to batch and from one order of computation to another, two values are as good as never
equally likely by rounding; in float32 one value of an image would be.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import read_arrays
from qnn_robustness.models.density.logistic_mixture import (
    in_unit,
    log_probabilities,
    mixture,
    most_probable,
    numbers_per_component,
)

CONTEXT = 3  # rows above, and columns to the left, that the first layer sees
BATCH = 250  # images purified side by side
PARALLEL_PIXELS = 16384  # pixels, of one image or several, that are computed at once


def weight_shapes(channels: int, width: int, layers: int, mixtures: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all weights: kernels [rows, columns, inputs, outputs] and biases [outputs]."""
    seen = channels + 1  # with a plane of ones, by which the padding differs from grey
    kernels = {"above": (CONTEXT, 2 * CONTEXT + 1, seen, width), "left": (1, CONTEXT, seen, width)}
    for layer in range(layers):
        kernels[f"vertical_{layer}"] = (2, 3, width, 2 * width)
        kernels[f"link_{layer}"] = (1, 1, 2 * width, 2 * width)
        kernels[f"horizontal_{layer}"] = (1, 2, width, 2 * width)
        kernels[f"residual_{layer}"] = (1, 1, width, width)
    kernels["hidden"] = (1, 1, width, width)
    kernels["outputs"] = (1, 1, width, mixtures * numbers_per_component(channels))
    biases = {name: shape[-1:] for name, shape in kernels.items() if not name.startswith("link")}
    return {f"{name}/kernel": shape for name, shape in kernels.items()} | {
        f"{name}/bias": shape for name, shape in biases.items()
    }


class PixelCNN:
    """The density model of `weights`, whose shapes are those of `weight_shapes`. Images are uint8 [N, H, W, C]."""

    def __init__(self, weights: Mapping[str, np.ndarray]):
        self.weights = {name: np.asarray(values, np.float64) for name, values in weights.items()}
        _, _, seen, self.width = weights["above/kernel"].shape
        self.channels = seen - 1
        self.layers = _layers(weights)
        self.mixtures = weights["outputs/kernel"].shape[-1] // numbers_per_component(self.channels)
        self.parameters = sum(values.size for values in weights.values())

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Return the outputs [N, H, W, K * numbers_per_component] for all pixels at once."""
        inputs = _inputs(images)
        vertical = self._convolved("above", _padded(inputs, CONTEXT, CONTEXT)[:, :-1])
        horizontal = self._convolved("left", _padded(inputs, 0, CONTEXT, 0)[:, :, :-1])
        for layer in range(self.layers):
            below = self._convolved(f"vertical_{layer}", _padded(vertical, 1, 1))
            vertical = vertical + _gated(below)
            link = self._convolved(f"link_{layer}", below)
            horizontal = self._horizontal(layer, _padded(horizontal, 0, 1, 0), horizontal, link)
        return self._head(horizontal)

    def log_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the log-probability [N] of each image."""
        parts = [
            log_probabilities(mixture(self.outputs(part), self.channels), part).sum(axis=(1, 2))
            for part in _in_parallel(images)
        ]
        return np.concatenate([np.empty(0), *parts])

    def bits_per_dimension(self, images: np.ndarray) -> np.ndarray:
        """Return the negative log-likelihood [N] of each image in bits, for each of its H * W * C values."""
        return -self.log_probabilities(images) / (np.log(2) * np.prod(images.shape[1:]))

    def purified(self, images: np.ndarray, levels: int) -> np.ndarray:
        """Return images in which each value, one after the other, is the most probable at most `levels` from its own.

        Each value is conditioned on those before it as they have been chosen (Song et al. 2018, algorithm 1). What the
        layers gave for earlier pixels is kept, so that a pixel costs its own column of the network.
        """
        parts = [self._purified(part, levels) for part in _batches(images, BATCH)]
        return np.concatenate([images[:0], *parts])

    def purified_one_pass(self, images: np.ndarray, levels: int) -> np.ndarray:
        """Return the same with each value conditioned on those before it as they are in `images`: in one pass."""
        parts = [
            most_probable(mixture(self.outputs(part), self.channels), part, levels, given=part)
            for part in _in_parallel(images)
        ]
        return np.concatenate([images[:0], *parts])

    def _purified(self, images: np.ndarray, levels: int) -> np.ndarray:
        count, height, width, _ = images.shape
        purified = images.copy()
        inputs = _padded(_inputs(images), CONTEXT, CONTEXT)  # rows and columns ahead are there, and never looked at
        rows = [np.zeros((count, 1, width, self.width))] * self.layers  # the row above of each vertical layer
        for row in range(height):
            links, rows = self._row(inputs[:, row : row + CONTEXT], rows)
            columns = [np.zeros((count, 1, 1, self.width))] * self.layers  # the pixel to the left of each layer
            for column in range(width):
                window = inputs[:, row + CONTEXT, column : column + CONTEXT][:, None]
                outputs, columns = self._pixel(window, [link[:, :, column : column + 1] for link in links], columns)
                pixels = mixture(outputs[:, 0, 0], self.channels)
                chosen = most_probable(pixels, images[:, row, column], levels)
                purified[:, row, column] = chosen
                inputs[:, row + CONTEXT, column + CONTEXT, :-1] = in_unit(chosen)
        return purified

    def _row(self, window: np.ndarray, above: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return what each layer of the vertical stack gives to the horizontal one in a row, and its inputs there."""
        vertical, links, inputs = self._convolved("above", window), [], []
        for layer in range(self.layers):
            inputs.append(vertical)
            pair = np.concatenate([above[layer], vertical], axis=1)
            below = self._convolved(f"vertical_{layer}", _padded(pair, 0, 1))
            vertical = vertical + _gated(below)
            links.append(self._convolved(f"link_{layer}", below))
        return links, inputs

    def _pixel(
        self, window: np.ndarray, links: list[np.ndarray], left: list[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the outputs [N, 1, 1, ...] of a pixel, and the inputs of each layer of the horizontal stack there."""
        horizontal, inputs = self._convolved("left", window), []
        for layer in range(self.layers):
            inputs.append(horizontal)
            pair = np.concatenate([left[layer], horizontal], axis=2)
            horizontal = self._horizontal(layer, pair, horizontal, links[layer])
        return self._head(horizontal), inputs

    def _horizontal(self, layer: int, padded: np.ndarray, horizontal: np.ndarray, link: np.ndarray) -> np.ndarray:
        gated = _gated(self._convolved(f"horizontal_{layer}", padded) + link)
        return horizontal + self._convolved(f"residual_{layer}", gated)

    def _head(self, horizontal: np.ndarray) -> np.ndarray:
        hidden = np.maximum(self._convolved("hidden", np.maximum(horizontal, 0)), 0)
        return self._convolved("outputs", hidden)

    def _convolved(self, name: str, inputs: np.ndarray) -> np.ndarray:
        """Return the convolution [N, H', W', G] with a kernel, where all of it lies within `inputs`."""
        kernel = self.weights[f"{name}/kernel"]
        rows, columns, _, width = kernel.shape
        height, length = inputs.shape[1] - rows + 1, inputs.shape[2] - columns + 1
        shifts = [inputs[:, i : i + height, j : j + length] for i in range(rows) for j in range(columns)]
        patches = np.concatenate(shifts, axis=-1)
        flat = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, width)
        return flat.reshape(*patches.shape[:-1], width) + self.weights.get(f"{name}/bias", 0)


def load_density(path: str | Path) -> PixelCNN:
    """Read a density model that `write_density` has written.

    Raises UserError when the file is missing, damaged, or no such model.
    """
    return _loaded(str(path), Path(path).stat().st_mtime_ns if Path(path).exists() else 0)


@lru_cache(maxsize=2)
def _loaded(path: str, changed: int) -> PixelCNN:
    weights = read_arrays(path)
    try:
        _, _, seen, width = weights["above/kernel"].shape
        mixtures = weights["outputs/kernel"].shape[-1] // numbers_per_component(seen - 1)
        expected = weight_shapes(seen - 1, width, _layers(weights), mixtures)
    except (KeyError, ValueError):
        expected = None
    if {name: values.shape for name, values in weights.items()} != expected:
        raise UserError(f"{path}: no density model of this project; delete it and run again")
    return PixelCNN(weights)


def _layers(weights: Mapping[str, np.ndarray]) -> int:
    return sum(name.startswith("link_") for name in weights)


def _inputs(images: np.ndarray) -> np.ndarray:
    """Return images as float64 in [-1, 1] with a plane of ones behind them, [N, H, W, C + 1]."""
    return np.concatenate([in_unit(images), np.ones((*images.shape[:-1], 1))], axis=-1)


def _padded(values: np.ndarray, top: int, left: int, right: int | None = None) -> np.ndarray:
    """Return `values` [N, H, W, F] with rows of zeros above and columns left and right, as many on both sides."""
    return np.pad(values, ((0, 0), (top, 0), (left, left if right is None else right), (0, 0)))


def _gated(values: np.ndarray) -> np.ndarray:
    """Return the tanh of the first half of the features, weighed by the sigmoid of the second half (equation 2)."""
    half = values.shape[-1] // 2
    return np.tanh(values[..., :half]) * (0.5 + 0.5 * np.tanh(values[..., half:] / 2))


def _in_parallel(images: np.ndarray) -> list[np.ndarray]:
    return _batches(images, max(1, PARALLEL_PIXELS // (images.shape[1] * images.shape[2])))


def _batches(images: np.ndarray, size: int) -> list[np.ndarray]:
    return [images[start : start + size] for start in range(0, len(images), size)]
