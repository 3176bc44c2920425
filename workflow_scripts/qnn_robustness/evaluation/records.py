"""Records: one row for each sample, seed, budget and kernel set, scored from the stored files alone."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from qnn_robustness.common.distances import NORMS, distance
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.scores import predicted
from qnn_robustness.data.splits import Split, to_unit
from qnn_robustness.defenses.shared.preprocessor import Preprocessor

Predictor = Callable[[np.ndarray, np.ndarray], np.ndarray]


def target_module(target: str) -> str:
    """Return the dotted name of the module which runs a precision; only float32 needs TensorFlow."""
    return "qnn_robustness.models.float_network" if target == "float32" else "qnn_robustness.quantization.tflite_model"


def load_target(target: str, path: str, kernels: str, preprocessor: dict[str, Any]) -> Predictor:
    """Return a function from samples (uint8 or float [N, H, W, C]) to scores [N, K], the preprocessor in front.

    Its second argument are the places [N] of the samples in the test split, for randomised preprocessors.
    """
    predict = importlib.import_module(target_module(target)).load_predictor(path, kernels)
    if preprocessor["method"] is None:
        return lambda samples, indices: predict(to_unit(samples))
    front = Preprocessor.of(preprocessor)
    return lambda samples, indices: predict(front.deployed(to_unit(samples), indices))


def clean_records(test: Split, predictors: dict[str, Predictor]) -> pd.DataFrame:
    """Score the test split on each kernel set.

    Returns columns kernels, sample, label, prediction, correct and tie (the two highest scores are equal;
    the arg-max, the first of them, decides).

    Raises UserError when the network answers any sample with scores that are no numbers.
    """
    parts = []
    for kernels, predict in predictors.items():
        scores = predict(test.samples, np.arange(len(test.labels)))
        broken = int(np.isnan(scores).any(axis=1).sum())
        if broken:
            raise UserError(
                f"the network answers {broken} of {len(scores)} clean samples with scores that are no numbers "
                f"(kernels: {kernels}); expected numbers for every image"
            )
        top = np.sort(scores, axis=1)[:, -2:]
        prediction = scores.argmax(axis=1)
        parts.append(
            pd.DataFrame(
                {
                    "kernels": kernels,
                    "sample": np.arange(len(test.labels)),
                    "label": test.labels,
                    "prediction": prediction,
                    "correct": prediction == test.labels,
                    "tie": top[:, 0] == top[:, 1],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def adversarial_records(
    crafted: dict[str, np.ndarray],
    test: Split,
    predictors: dict[str, Predictor],
    source_clean: pd.DataFrame,
    target_clean: pd.DataFrame,
    constants: dict[str, Any],
) -> pd.DataFrame:
    """Score stored adversarial samples on each kernel set of the target.

    `crafted` is the content of results/adversarial/...npz. `source_clean` and `target_clean` are clean
    records of the source (behind the preprocessor it was attacked through, if any) and of the target (behind
    its own). `constants` are columns with one value (model, attack, ...).

    Returns the constants, source_kernels (those that the attack asked), seed, budget (nan for attacks that minimise
    the distance), kernels, sample, label, source_correct, target_correct, adversarial_prediction,
    adversarial_correct, adversarial_tie, found (the attack's own word), queries, and the distance in each norm; for
    sound also its signal-to-noise ratio `snr`, [S, E, N] of `crafted`.
    """
    indices, metadata = crafted["samples"], json.loads(str(crafted["metadata"]))
    clean, labels = test.samples[indices], test.labels[indices]
    source_correct = _correct(source_clean, metadata["kernels"], indices)
    parts = []
    for s, seed in enumerate(crafted["seeds"]):
        for e, budget in enumerate(crafted["budgets"]):
            adversarial = crafted["adversarial"][s, e]
            distances = {norm: distance(norm, adversarial, clean) for norm in NORMS}
            if "snr" in crafted:
                distances["snr"] = crafted["snr"][s, e]
            for kernels, predict in predictors.items():
                scores = predict(adversarial, indices)
                top = np.sort(scores, axis=1)[:, -2:]
                parts.append(
                    pd.DataFrame(
                        {
                            **constants,
                            "source_kernels": metadata["kernels"],
                            "seed": seed,
                            "budget": budget,
                            "kernels": kernels,
                            "sample": indices,
                            "label": labels,
                            "source_correct": source_correct,
                            "target_correct": _correct(target_clean, kernels, indices),
                            "adversarial_prediction": predicted(scores),
                            "adversarial_correct": predicted(scores) == labels,
                            "adversarial_tie": top[:, 0] == top[:, 1],
                            "found": crafted["found"][s, e],
                            "queries": crafted["queries"][s, e],
                            **distances,
                        }
                    )
                )
    return pd.concat(parts, ignore_index=True)


def _correct(clean: pd.DataFrame, kernels: str, indices: Sequence[int]) -> np.ndarray:
    rows = clean[clean["kernels"] == kernels].set_index("sample")
    return rows.loc[indices, "correct"].to_numpy()
