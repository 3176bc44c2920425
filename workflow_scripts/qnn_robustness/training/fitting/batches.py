"""Shuffled, augmented batches whose content depends on (seed, epoch, batch) alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qnn_robustness.data.splits import Split, to_unit


class Batches(Sequence):
    """The batches of one epoch: (samples float32 [B, H, W, C] in [0, 1], labels int64 [B]).

    `shift` moves each image by up to that many pixels (zero padding), `flip` mirrors half of them.
    The last, smaller batch of an epoch is kept.

    `static` are other versions of the samples, uint8 [N, H, W, C] each, those of one source network in a group. With
    them each batch draws a network, one of the sources or the trained one itself, and of a source one of its versions,
    with the same shifts and mirroring: then follow (version float32 [B, H, W, C], own bool), where the version means
    nothing if `own`.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seed: int,
        shift: int = 0,
        flip: bool = False,
        static: Sequence[Sequence[np.ndarray]] = (),
    ):
        self.split, self.batch_size, self.seed, self.shift, self.flip = split, batch_size, seed, shift, flip
        self.static = static
        self.start_epoch(0)

    def __len__(self) -> int:
        return -(-len(self.split.labels) // self.batch_size)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order of the samples for `epoch` (from 0)."""
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.split.labels))

    def __getitem__(self, batch: int) -> tuple[np.ndarray, ...]:
        if not 0 <= batch < len(self):
            raise IndexError(batch)
        chosen = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        samples, labels = self._augmented(self.split.samples[chosen], batch), self.split.labels[chosen]
        if not self.static:
            return samples, labels
        random = np.random.default_rng([self.seed, self.epoch, batch, 1])
        source = random.integers(len(self.static) + 1)
        own = source == len(self.static)
        if own:
            return samples, labels, samples, np.bool_(True)
        versions = self.static[source]
        static = self._augmented(versions[random.integers(len(versions))][chosen], batch)
        return samples, labels, static, np.bool_(False)

    def _augmented(self, images: np.ndarray, batch: int) -> np.ndarray:
        random = np.random.default_rng([self.seed, self.epoch, batch])
        return to_unit(augment(images, random, self.shift, self.flip))


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
