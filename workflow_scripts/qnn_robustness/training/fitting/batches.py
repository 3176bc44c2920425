"""Shuffled, augmented batches whose content depends on (seed, epoch, batch) alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qnn_robustness.data.splits import Split, to_unit


class Batches(Sequence):
    """The batches of one epoch: (samples float32 [B, H, W, C] in [0, 1], labels int64 [B]).

    `shift` moves each image by up to that many pixels (zero padding), `flip` mirrors half of them.
    The last, smaller batch of an epoch is kept.
    """

    def __init__(self, split: Split, batch_size: int, seed: int, shift: int = 0, flip: bool = False):
        self.split, self.batch_size, self.seed, self.shift, self.flip = split, batch_size, seed, shift, flip
        self.start_epoch(0)

    def __len__(self) -> int:
        return -(-len(self.split.labels) // self.batch_size)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order of the samples for `epoch` (from 0)."""
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.split.labels))

    def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= batch < len(self):
            raise IndexError(batch)
        chosen = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        random = np.random.default_rng([self.seed, self.epoch, batch])
        images = augment(self.split.samples[chosen], random, self.shift, self.flip)
        return to_unit(images), self.split.labels[chosen]


def augment(images: np.ndarray, random: np.random.Generator, shift: int, flip: bool) -> np.ndarray:
    """Return randomly shifted and mirrored copies of `images` [N, H, W, C]."""
    count, height, width, _ = images.shape
    if shift:
        padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
        top, left = random.integers(0, 2 * shift + 1, (2, count))
        images = windows[np.arange(count), top, left].transpose(0, 2, 3, 1)
    if flip:
        mirrored = random.random(count) < 0.5
        images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    return images
