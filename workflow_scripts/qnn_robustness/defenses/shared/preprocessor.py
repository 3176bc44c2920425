"""An input defense as it is run in front of a network: deterministic or randomised, with a gradient for attackers.

A method is a module of `qnn_robustness.defenses` with

- `apply(samples, **parameters)` for samples float32 [N, H, W, C] in [0, 1], of which none depends on another;
- if it is randomised, `draw(generator, shape, **parameters)`, the random numbers [D] for one sample of `shape`
  (H, W, C); `apply` then takes those of all samples as second argument, [N, D];
- if it has a gradient worth using, `pull_back(gradients, samples, [draws,] **parameters)`: the product of
  gradients by the outputs, float32 [N, H, W, C], with the Jacobian of `apply` or of a smooth stand-in for it.
  Without one, gradients pass as they are (the identity of Athalye et al. 2018, section 4.1).
- `OF_IMAGES = True`, if features of sound are nothing to it; `CHANNELS`, if it takes images of these numbers alone;
- `operations(shape, **parameters)`, its work for one sample of `shape` (H, W, C) on a microcontroller, in additions,
  multiplications, comparisons and copies;
- if it keeps more than the sample, `storage(shape, **parameters)`, its bytes of flash and of memory.

None of these needs TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from qnn_robustness.common import registry

DEFENDER = tuple(b"deployed")  # ends the seeds of the deployed defense: attackers draw from streams of their own


@dataclass(frozen=True)
class Preprocessor:
    """A method with its parameters; `draws` below are those of `draw`, None for deterministic methods."""

    method: ModuleType
    parameters: dict[str, Any]

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Preprocessor:
        """Return the preprocessor of an entry of the configuration (`method`, `parameters`)."""
        return cls(registry.load("defenses", entry["method"]), entry["parameters"])

    @property
    def randomised(self) -> bool:
        return hasattr(self.method, "draw")

    def draw(self, generators: Sequence[np.random.Generator], shape: tuple[int, ...]) -> np.ndarray | None:
        """Return the next draws [N, D] for samples of `shape` (H, W, C), from one generator each."""
        if not self.randomised:
            return None
        return np.stack([self.method.draw(generator, shape, **self.parameters) for generator in generators])

    def apply(self, samples: np.ndarray, draws: np.ndarray | None = None) -> np.ndarray:
        """Return the inputs of the network for `samples`, both float32 [N, H, W, C] in [0, 1]."""
        extra = () if draws is None else (draws,)
        return self.method.apply(samples, *extra, **self.parameters).astype(np.float32)

    def pull_back(self, gradients: np.ndarray, samples: np.ndarray, draws: np.ndarray | None = None) -> np.ndarray:
        """Return gradients by `samples` for gradients by the outputs, all float32 [N, H, W, C]."""
        if not hasattr(self.method, "pull_back"):
            return gradients
        extra = () if draws is None else (draws,)
        return self.method.pull_back(gradients, samples, *extra, **self.parameters).astype(np.float32)

    def operations(self, shape: tuple[int, ...]) -> int:
        """Return the work for one sample of `shape` (H, W, C)."""
        return self.method.operations(shape, **self.parameters)

    def storage(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the bytes of flash and of memory that it needs for samples of `shape` (H, W, C)."""
        return self.method.storage(shape, **self.parameters) if hasattr(self.method, "storage") else (0, 0)

    def deployed(self, samples: np.ndarray, indices: Sequence[int]) -> np.ndarray:
        """Return the inputs of the network as the deployed defense makes them.

        `indices` [N] say which test samples these are: each has random numbers of its own, the same ones for
        every attack, so that a worst case over attacks is none over luck.
        """
        generators = [np.random.default_rng([int(index), *DEFENDER]) for index in indices]
        return self.apply(samples, self.draw(generators, samples.shape[1:]))
