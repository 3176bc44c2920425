"""Which inputs of a crafting job are checked against the interpreter."""

from __future__ import annotations

import numpy as np

from qnn_robustness.common.distances import to_unit

RECHECKED = 256


def sample_of(adversarial: np.ndarray, clean: np.ndarray, count: int) -> np.ndarray:
    """Return `count` inputs [count, H, W, C]: adversarial ones spread over all seeds, budgets and samples.

    `adversarial` is [S, E, N, H, W, C]. Where there are fewer than `count`, clean samples [M, H, W, C] fill up,
    repeated if need be.
    """
    flat = adversarial.reshape(-1, *adversarial.shape[3:])
    chosen = flat[np.unique(np.linspace(0, len(flat) - 1, min(count, len(flat))).round().astype(int))]
    missing = count - len(chosen)
    rest = clean[np.arange(missing) % len(clean)]
    if adversarial.dtype != np.uint8:
        rest = to_unit(rest).astype(np.float32)
    return np.concatenate([chosen, rest])
