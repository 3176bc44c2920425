"""The splits of a data set as every later stage reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import read_arrays

SPLITS = ("train", "validation", "calibration", "test")


@dataclass(frozen=True)
class Sound:
    """The clips of a split, int16 [N, 16000], and the range of their features that is [0, 1] in its samples."""

    clips: np.ndarray
    feature_range: tuple[float, float]


@dataclass(frozen=True)
class Split:
    """Samples of one split in canonical order.

    `samples` uint8 [N, H, W, C], or float32 features in [0, 1] of the same layout; `labels` int64 [N]. Of test data
    whose samples are features of sound, `sound` is what `load_sound` returns.
    """

    samples: np.ndarray
    labels: np.ndarray
    sound: Sound | None = None

    def __len__(self) -> int:
        return len(self.labels)


def load_split(path: str | Path) -> Split:
    """Read a split written by `prepare` (results/data/{dataset}/{split}.npz).

    Raises UserError when the file is missing or damaged, or does not hold uint8 samples [N, H, W, C], or
    float32 ones in [0, 1], and int64 labels [N].
    """
    arrays = read_arrays(path, ("samples", "labels"))
    missing = {"samples", "labels"} - arrays.keys()
    if missing:
        raise UserError(f"{path}: has no array '{min(missing)}'; expected 'samples' and 'labels'")
    samples, labels = arrays["samples"], arrays["labels"]
    if samples.dtype not in (np.uint8, np.float32) or samples.ndim != 4:
        raise UserError(f"{path}: samples are {samples.dtype} {samples.shape}; expected uint8 [N, H, W, C] or float32")
    if samples.dtype == np.float32 and not ((samples >= 0) & (samples <= 1)).all():
        raise UserError(f"{path}: has float samples outside [0, 1]; expected features scaled to it")
    if labels.dtype != np.int64 or labels.shape != samples.shape[:1]:
        raise UserError(f"{path}: labels are {labels.dtype} {labels.shape}; expected int64 ({len(samples)},)")
    if (labels < 0).any():
        raise UserError(f"{path}: has negative labels; expected class numbers from 0")
    return Split(samples, labels)


def load_sound(path: str | Path) -> Sound:
    """Read the clips of a split, in the order of its samples.

    Raises UserError when the file is missing or damaged, or its samples are no features of sound.
    """
    arrays = read_arrays(path, ("sound", "feature_range"))
    if len(arrays) < 2:
        raise UserError(f"{path}: has no sound; an attack on sound needs a data set of sound")
    return Sound(arrays["sound"], tuple(arrays["feature_range"].tolist()))


def stratified(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the sorted places of `count` samples with the class shares of all `labels`, the first ones of each class.

    Fewer samples are always among more of them. Raises UserError when there are not as many.
    """
    if count > len(labels):
        raise UserError(f"{count} samples wanted, but there are {len(labels)}")
    shares = np.empty(len(labels))
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        shares[places] = (np.arange(len(places)) + 0.5) / len(places)
    return np.sort(np.argsort(shares, kind="stable")[:count])


def to_unit(samples: np.ndarray) -> np.ndarray:
    """Return samples as float32 in [0, 1], the input range of every network: uint8 as x / 255, features as they are."""
    return samples.astype(np.float32) / np.float32(255) if samples.dtype == np.uint8 else samples


def to_range(features: np.ndarray, feature_range: tuple[float, float]) -> np.ndarray:
    """Return features with `feature_range` (lowest, highest) brought to [0, 1], float32; the rest is clipped."""
    low, high = np.float32(feature_range)
    return np.clip((features - low) / (high - low), 0, 1, dtype=np.float32)
