"""Single uniform numbers for each sample, for attacks that need a few of them at every query."""

from __future__ import annotations

import numpy as np

from qnn_robustness.attacks.crafting.network import Network


class Draws:
    """Uniform numbers for the samples of a block, drawn in bulk: as many as a sample has values.

    A sample's numbers depend on nothing but its own stream and how many it has taken. `take` and `keep` are
    called inside `network.only(...)` for the samples that are left.
    """

    def __init__(self, network: Network, samples: int, shape: tuple[int, ...]):
        self.network, self.shape = network, shape
        self.buffer = np.empty((samples, 0), np.float32)

    def take(self, count: int) -> np.ndarray:
        """Return `count` numbers in [0, 1] for each sample, float32 [N, count]."""
        while self.buffer.shape[1] < count:
            fresh = self.network.uniform((len(self.buffer), *self.shape)).reshape(len(self.buffer), -1)
            self.buffer = np.concatenate([self.buffer, fresh], axis=1)
        taken, self.buffer = self.buffer[:, :count], self.buffer[:, count:]
        return taken

    def keep(self, positions: np.ndarray) -> None:
        """Go on with these samples alone (positions among the current ones, or a mask)."""
        self.buffer = self.buffer[positions]


def whole(draws: np.ndarray, count: int | np.ndarray) -> np.ndarray:
    """Return numbers in [0, 1] as integers in 0 ... count - 1 (each about equally often)."""
    return np.minimum((draws * np.float64(count)).astype(np.int64), np.asarray(count) - 1)
