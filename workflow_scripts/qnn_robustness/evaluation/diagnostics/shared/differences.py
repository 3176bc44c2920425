"""Finite differences by whole steps of the input, at some values of each sample."""

from __future__ import annotations

import numpy as np

from qnn_robustness.evaluation.diagnostics.shared.losses import LOSSES
from qnn_robustness.evaluation.diagnostics.shared.subject import Network, Subject


def probed(subject: Subject, seed: int, count: int) -> np.ndarray:
    """Return places of `count` input values of each sample (all, if there are fewer), int64 [N, P]."""
    size = int(np.prod(subject.samples.shape[1:]))
    draws = [stream.choice(size, min(count, size), replace=False) for stream in subject.draws(seed)]
    return np.stack(draws)


def differences(network: Network, subject: Subject, positions: np.ndarray, step: float) -> dict[str, np.ndarray]:
    """Return for each loss its central difference quotients at `positions` [N, P], float64 [N, P].

    A value is raised and lowered by `step`, as far as [0, 1] allows; the quotient is by the real distance of the two
    inputs. Integer networks answer exactly, so a quotient is zero only if the network does not feel the step.
    """
    quotients = {name: np.empty(positions.shape) for name in LOSSES}
    for i, (sample, label) in enumerate(zip(subject.samples, subject.labels, strict=True)):
        probes, distance = _probes(sample, positions[i], np.float32(step))
        logits = network.logits(probes)
        for name, loss in LOSSES.items():
            raised, lowered = np.split(loss.values(logits, np.full(len(logits), label)), 2)
            quotients[name][i] = (raised - lowered) / distance
    return quotients


def _probes(sample: np.ndarray, positions: np.ndarray, step: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Return the sample with each value raised, then with each lowered [2P, ...], and their distances [P]."""
    count, flat = len(positions), sample.reshape(-1)
    probes = np.repeat(flat[None], 2 * count, axis=0)
    raised, lowered = np.minimum(flat[positions] + step, 1), np.maximum(flat[positions] - step, 0)
    probes[np.arange(count), positions] = raised
    probes[count + np.arange(count), positions] = lowered
    return probes.reshape(-1, *sample.shape), raised.astype(np.float64) - lowered
