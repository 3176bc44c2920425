"""Random streams that belong to (seed, sample): what one sample draws depends on no other sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import eagerpy as ep
import numpy as np
from eagerpy.tensor import NumPyTensor, TensorFlowTensor

SHARED = 2**32 - 1  # in place of a sample's index: the stream of draws that have no sample axis


_serving: list[SampleStreams] = []


class SampleStreams:
    """One generator for each sample of a block, keyed by (seed, stage, index of the sample).

    `stage` tells apart the stages of an attack, so that a sample's draws in one stage do not depend on how
    often the block drew in an earlier one.
    """

    def __init__(self, seed: int, indices: Sequence[int], sample_shape: Sequence[int], stage: int = 0):
        self.generators = [np.random.default_rng([seed, stage, int(index)]) for index in indices]
        self.shared = np.random.default_rng([seed, stage, SHARED])
        self.sample_shape = tuple(sample_shape)

    def draw(self, method: str, shape: Sequence[int], *arguments: float) -> np.ndarray:
        """Return float32 draws of `shape` by `method` of numpy's generators (`uniform`, `normal`).

        The sample axis is the first one (shape [N, D] to [N, D + 2], whatever the shape of D: a point in a ball is
        drawn with up to two values more) or the second one (shape [R, N, ...sample shape]); draws without one come from
        a stream of the seed alone.
        """
        shape = tuple(int(size) for size in shape)
        count, size = len(self.generators), int(np.prod(self.sample_shape))
        if shape[0] == count and int(np.prod(shape[1:])) in (size, size + 1, size + 2):
            axis, part = 0, shape[1:]
        elif len(shape) > 2 and shape[1] == count and shape[2:] == self.sample_shape:
            axis, part = 1, (shape[0], *shape[2:])
        else:
            return getattr(self.shared, method)(*arguments, size=shape).astype(np.float32)
        draws = [getattr(generator, method)(*arguments, size=part) for generator in self.generators]
        return np.stack(draws, axis=axis).astype(np.float32)

    @contextmanager
    def only(self, positions: np.ndarray) -> Iterator[None]:
        """Inside the block, draws are for these samples (positions among the current ones) alone."""
        before, self.generators = self.generators, [self.generators[position] for position in positions]
        try:
            yield
        finally:
            self.generators = before

    @contextmanager
    def serving_eagerpy(self) -> Iterator[None]:
        """Let eagerpy, and so every Foolbox attack, draw from these streams inside the block.

        Foolbox draws for a whole batch from a global generator, which would tie each sample's result to the
        batch it happens to be in.
        """

        def uniform(tensor: ep.Tensor, shape: Any, low: float = 0.0, high: float = 1.0) -> ep.Tensor:
            return ep.from_numpy(tensor, self.draw("uniform", _as_shape(shape), low, high))

        def normal(tensor: ep.Tensor, shape: Any, mean: float = 0.0, stddev: float = 1.0) -> ep.Tensor:
            return ep.from_numpy(tensor, self.draw("normal", _as_shape(shape), mean, stddev))

        kinds = (NumPyTensor, TensorFlowTensor)
        originals = [(kind, kind.uniform, kind.normal) for kind in kinds]
        try:
            for kind in kinds:
                kind.uniform, kind.normal = uniform, normal
            _serving.append(self)
            yield
        finally:
            _serving.remove(self)
            for kind, *methods in originals:
                kind.uniform, kind.normal = methods


def serving() -> SampleStreams | None:
    """Return the streams that serve eagerpy at the moment, if any do."""
    return _serving[-1] if _serving else None


def _as_shape(shape: Any) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)
