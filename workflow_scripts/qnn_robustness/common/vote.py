"""The majority of the three precisions of one network (Bernhard et al. 2019): one class for each sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

VOTE = "vote"
MEMBERS = ("float32", "int16", "int8")  # the order of files and kernel sets


def majority(float32: np.ndarray, int16: np.ndarray, int8: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the class [N] that most of the three predict, and where all three differ, bool [N].

    Where all differ float32 decides: so it does unless the two others agree against it.
    """
    split = (float32 != int16) & (float32 != int8) & (int16 != int8)
    return np.where(int16 == int8, int16, float32), split


def joined(kernels: Sequence[str]) -> str:
    """Return the kernel sets of the `MEMBERS` as one word of tables."""
    return "+".join(kernels)


def parted(kernels: str) -> list[str]:
    """Return the kernel set of each of the `MEMBERS`."""
    return kernels.split("+")
