"""Gradient alignment (F2): whether the gradients of two precisions point the same way, sample by sample."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from qnn_robustness.evaluation.diagnostics.shared.differences import differences, probed
from qnn_robustness.evaluation.diagnostics.shared.losses import LOSSES, Loss
from qnn_robustness.evaluation.diagnostics.shared.subject import LEVEL, Subject, lengths

NEIGHBOUR, DIFFERENCES = "one level away", "one-level differences"
REFERENCE = "float32"
Pair = tuple[str, str, np.ndarray, np.ndarray]


def measure(subject: Subject, *, seed: int, probed_values: int) -> pd.DataFrame:
    """Return the agreement of two gradients for each sample.

    Columns: first, second, loss, sample, cosine (nan where a gradient is zero), sign_agreement (share of equal signs
    among the values where neither is zero; nan without any) and compared (the share of those values). Pairs:

    - two precisions;
    - float32 at the sample, and `one level away` from it in a random direction: how much a gradient turns within the
      rounding error of an 8-bit image, without any quantization;
    - a precision and its own central differences by one 8-bit level at `probed_values` input values: how well a
      gradient predicts what the smallest change of an image does.
    """
    positions = probed(subject, seed, probed_values)
    quotients = {name: differences(net, subject, positions, LEVEL) for name, net in subject.networks.items()}
    parts = []
    for name, loss in LOSSES.items():
        gradients = {p: n.gradients(subject.samples, subject.labels, loss) for p, n in subject.networks.items()}
        probes = {p: _at(gradient, positions) for p, gradient in gradients.items()}
        pairs = [
            *_between(gradients),
            _neighbours(subject, gradients[REFERENCE], loss, seed),
            *((p, DIFFERENCES, probes[p], quotients[p][name]) for p in gradients),
        ]
        for first, second, one, other in pairs:
            rows = agreement(one, other).assign(sample=subject.places, first=first, second=second, loss=name)
            parts.append(rows)
    columns = ["first", "second", "loss", "sample", "cosine", "sign_agreement", "compared"]
    return pd.concat(parts, ignore_index=True)[columns]


def agreement(first: np.ndarray, second: np.ndarray) -> pd.DataFrame:
    """Return cosine, sign_agreement and compared for each pair of rows of [N, ...]."""
    one, other = (values.reshape(len(values), -1).astype(np.float64) for values in (first, second))
    both = (one != 0) & (other != 0)
    equal = (np.sign(one) == np.sign(other)) & both
    with np.errstate(invalid="ignore", divide="ignore"):
        units = [values / lengths(values)[:, None] for values in (one, other)]
        signs = equal.sum(axis=1) / both.sum(axis=1)
    cosine = (units[0] * units[1]).sum(axis=1)
    return pd.DataFrame({"cosine": cosine, "sign_agreement": signs, "compared": both.mean(axis=1)})


def _between(gradients: dict[str, np.ndarray]) -> Iterator[Pair]:
    for first, second in combinations(gradients, 2):
        yield first, second, gradients[first], gradients[second]


def _neighbours(subject: Subject, gradient: np.ndarray, loss: Loss, seed: int) -> Pair:
    away = np.clip(subject.samples + np.float32(LEVEL) * subject.random_signs(seed), 0, 1)
    other = subject.networks[REFERENCE].gradients(away, subject.labels, loss)
    return REFERENCE, NEIGHBOUR, gradient, other


def _at(gradient: np.ndarray, positions: np.ndarray) -> np.ndarray:
    return np.take_along_axis(gradient.reshape(len(gradient), -1), positions, axis=1)
