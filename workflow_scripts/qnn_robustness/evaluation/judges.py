"""Detectors in front of a precision: what class a network gives to samples, and what score a detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from qnn_robustness.common.files import sha256_arrays
from qnn_robustness.common.scores import predicted
from qnn_robustness.defenses.shared.detector import squeezing_scores
from qnn_robustness.defenses.shared.likelihood import likelihood_scores
from qnn_robustness.evaluation.records import load_target
from qnn_robustness.models.density.pixel_cnn import load_density

Judge = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # samples, indices -> classes, scores [N]


def load_judges(
    target: str,
    network: Any,
    kernels: Sequence[str],
    preprocessors: Sequence[dict[str, Any]],
    probabilities: bool,
    density: str | None,
) -> dict[str, Judge]:
    """Return, for each kernel set of a target, the network `network` (its files) with a detector.

    preprocessors: none and, for feature squeezing, the squeezers. probabilities: the network ends in softmax.
    density: the file of the density model whose likelihood is the score, if it is that.
    Scores that are no numbers become -inf: they are above no threshold, and reject nothing.
    """
    likelihoods: dict[str, np.ndarray] = {}

    def score(samples: np.ndarray, outputs: list[np.ndarray]) -> np.ndarray:
        if not density:
            return squeezing_scores(outputs, probabilities)
        key = sha256_arrays(samples)  # kernel sets, one after the other, are given the same samples
        if key not in likelihoods:
            likelihoods[key] = likelihood_scores(load_density(density), samples)
        return likelihoods[key]

    def judge(one: str) -> Judge:
        networks = [load_target(target, network, one, front) for front in preprocessors]

        def judged(samples: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            outputs = [network(samples, indices) for network in networks]
            scores = score(samples, outputs)
            return predicted(outputs[0]), np.where(np.isnan(scores), -np.inf, scores)

        return judged

    return {one: judge(one) for one in kernels}
