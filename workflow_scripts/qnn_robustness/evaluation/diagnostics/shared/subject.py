"""What is looked at: the precisions of one trained network, and samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from qnn_robustness.attacks.crafting.array_model import ArrayModel
from qnn_robustness.evaluation.diagnostics.shared.losses import Loss

LEVEL = 1 / 255  # the distance of neighbouring 8-bit images
BATCH = 256
Activations = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Network:
    """One precision of a network, for inputs float32 [N, H, W, C] in [0, 1].

    `input_step` is the distance of neighbouring input codes, None for float32. `activations` maps inputs to the real
    values of every layer, by a name that all precisions share.
    """

    model: ArrayModel
    input_step: float | None = None
    activations: Activations | None = None

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Return the logits [N, K]."""
        return np.concatenate([self.model.logits(inputs[rows]) for rows in batches(len(inputs))])

    def gradients(self, inputs: np.ndarray, labels: np.ndarray, loss: Loss) -> np.ndarray:
        """Return the gradient of each sample's loss by its input, as attacks see it: float32 [N, H, W, C]."""
        parts = [
            self.model.gradient(inputs[rows], lambda logits, rows=rows: loss.differentiable(logits, labels[rows]))[1]
            for rows in batches(len(inputs))
        ]
        return np.concatenate(parts)

    def rounded(self, inputs: np.ndarray) -> np.ndarray:
        """Return the inputs as this precision sees them: rounded to its input codes."""
        if self.input_step is None:
            return inputs
        step = np.float32(self.input_step)
        return (np.rint(inputs / step) * step).clip(0, 1)


@dataclass(frozen=True)
class Subject:
    """Networks by precision, and the samples: float32 [N, H, W, C] in [0, 1], labels [N], places in the test split."""

    networks: Mapping[str, Network]
    samples: np.ndarray
    labels: np.ndarray
    places: np.ndarray

    def draws(self, seed: int) -> list[np.random.Generator]:
        """Return one random stream for each sample; it depends on seed and place only."""
        return [np.random.default_rng([seed, int(place)]) for place in self.places]

    def random_signs(self, seed: int) -> np.ndarray:
        """Return random signs, float32 [N, H, W, C]."""
        shape = self.samples.shape[1:]
        return np.stack([stream.choice([-1, 1], shape) for stream in self.draws(seed)]).astype(np.float32)

    def first(self, count: int) -> Subject:
        """Return the subject with its first samples only."""
        return Subject(self.networks, self.samples[:count], self.labels[:count], self.places[:count])


def batches(count: int) -> list[slice]:
    """Return slices that cover `count` rows; one empty slice for none."""
    return [slice(start, start + BATCH) for start in range(0, max(count, 1), BATCH)]


def lengths(values: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of each row of [N, ...], float64 [N]."""
    return np.linalg.norm(values.reshape(len(values), -1).astype(np.float64), axis=1)
