"""Linearised boundaries between the class of the label and others."""

from __future__ import annotations

import numpy as np

from qnn_robustness.attacks.crafting import balls
from qnn_robustness.attacks.crafting.array_model import rounds_at_once
from qnn_robustness.attacks.crafting.network import Network

Planes = tuple[np.ndarray, np.ndarray]  # what is missing, z_label - z_other [R]; the gradient of its negative [R, D]


def plane(network: Network, points: np.ndarray, labels: np.ndarray, others: np.ndarray) -> Planes:
    """Return the boundaries to given classes, at points [R, ...]."""
    rows = np.arange(len(labels))

    def difference(logits: np.ndarray) -> np.ndarray:
        weights = np.zeros_like(logits)
        weights[rows, others], weights[rows, labels] = 1, -1
        return weights

    logits, normals = network.slope(points, difference)
    return logits[rows, labels] - logits[rows, others], normals.reshape(len(labels), -1)


def nearest_plane(norm: str, network: Network, points: np.ndarray, labels: np.ndarray, classes: int) -> Planes:
    """Return of the boundaries to all other classes the nearest one, at points [R, ...].

    One gradient for each class, in as few calls as memory allows.
    """
    parts, at_once = [], rounds_at_once(points.shape)
    for start in range(1, classes, at_once):
        others = (labels + np.arange(start, min(start + at_once, classes))[:, None]) % classes
        repeated = np.concatenate([points] * len(others))
        gaps, normals = plane(network, repeated, np.tile(labels, len(others)), others.ravel())
        parts.append((gaps.reshape(others.shape), normals.reshape(*others.shape, -1)))
    gaps, normals = (np.concatenate(values) for values in zip(*parts, strict=True))
    lengths = np.stack([balls.dual_lengths(norm, normal) for normal in normals])
    nearest = (np.abs(gaps) / np.maximum(lengths, balls.TINY)).argmin(axis=0), np.arange(len(points))
    return gaps[nearest], normals[nearest]
