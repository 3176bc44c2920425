"""A network for attacks that drop samples: arrays in and out, queries and draws for those that are left."""

from __future__ import annotations

from contextlib import AbstractContextManager

import eagerpy as ep
import numpy as np

from qnn_robustness.attacks.crafting.active import narrowed
from qnn_robustness.attacks.crafting.array_model import ArrayModel


class Network(ArrayModel):
    """A Foolbox model for inputs [R, H, W, C] in [0, 1], seen through arrays of float32."""

    def only(self, positions: np.ndarray) -> AbstractContextManager[None]:
        """Inside the block, calls and random draws are for these samples alone (crafting.active.narrowed)."""
        return narrowed(self.model, positions)

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return draws from [0, 1], float32; the upper end may occur."""
        return ep.uniform(self.like, shape, 0.0, 1.0).numpy()

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return ep.normal(self.like, shape).numpy()


def check_images(samples: np.ndarray) -> None:
    """Raise ValueError for samples that have no rows and columns."""
    if samples.ndim != 4:
        raise ValueError(f"expected samples [N, H, W, C], got the shape {list(samples.shape)}")
