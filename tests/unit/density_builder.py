"""Density models with random weights: as good as trained ones for all that does not depend on what is likely."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from qnn_robustness.common.files import write_arrays
from qnn_robustness.models.density.pixel_cnn import PixelCNN, weight_shapes

FOLDER = tempfile.TemporaryDirectory()  # removed when the tests end


def random_weights(channels: int, width: int = 4, layers: int = 2, mixtures: int = 3) -> dict[str, np.ndarray]:
    random = np.random.default_rng(channels)
    shapes = weight_shapes(channels, width, layers, mixtures)
    return {
        name: random.normal(scale=np.prod(shape[:-1]) ** -0.5, size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def random_density(channels: int, **sizes: int) -> PixelCNN:
    return PixelCNN(random_weights(channels, **sizes))


@cache
def density_file(channels: int, width: int = 4) -> str:
    path = Path(FOLDER.name) / f"density_{channels}_{width}.npz"
    write_arrays(path, **random_weights(channels, width))
    return str(path)
