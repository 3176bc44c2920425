"""Distances between samples and their adversarial versions, in the units of inputs in [0, 1]."""

from __future__ import annotations

import numpy as np

NORMS = ("linf", "l2", "l1", "l0")
SAME = 1e-6  # float32 and float64 differ by less in [0, 1], and levels of 8 or 16 bits by more


def to_unit(samples: np.ndarray) -> np.ndarray:
    """Return samples as float64 in [0, 1]: uint8 divided by 255, floats as they are."""
    return samples / 255.0 if samples.dtype == np.uint8 else samples.astype(np.float64)


def distance(norm: str, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the distance of each pair, float64 [N], between arrays [N, ...] (uint8 or float in [0, 1]).

    `norm` is linf, l2, l1 (lengths for inputs in [0, 1]) or l0 (number of differing values). Images that differ by the
    same numbers of levels have the very same distance, whatever their values.
    """
    images = first.dtype == second.dtype == np.uint8
    first, second = (samples.astype(np.float64) if images else to_unit(samples) for samples in (first, second))
    unit = 255 if images else 1
    difference = np.abs(first - second).reshape(len(first), -1)
    if norm == "linf":
        return difference.max(axis=1) / unit
    if norm == "l2":
        return np.sqrt((difference**2).sum(axis=1)) / unit
    if norm == "l1":
        return difference.sum(axis=1) / unit
    if norm == "l0":
        return (difference > SAME).sum(axis=1).astype(np.float64)
    raise ValueError(f"unknown norm {norm!r}")


def signal_to_noise(clips: np.ndarray, adversarial: np.ndarray) -> np.ndarray:
    """Return the signal-to-noise ratio in dB, float64 [N]; infinite without noise."""
    signal, noise = clips.astype(np.float64), adversarial.astype(np.float64) - clips
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * np.log10((signal**2).sum(axis=1) / (noise**2).sum(axis=1))
    return np.where((noise == 0).all(axis=1), np.inf, ratio)
