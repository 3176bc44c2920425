"""Detection of adversarial samples by feature squeezing (Xu et al. 2018, section V)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from qnn_robustness.common.errors import UserError
from qnn_robustness.evaluation.statistics import wilson

if TYPE_CHECKING:  # the tables of detection depend on neither
    from qnn_robustness.data.splits import Split
    from qnn_robustness.evaluation.records import Predictor

NETWORK = ["model", "training", "detector", "target", "kernels"]
ATTACK = ["source", "attack", "protocol", "access", "norm", "budget", "lattice", "through", "seed"]
SETTING = [*NETWORK, *ATTACK]
RATES = [
    "threshold", "false_positive_rate", "realised_false_positive_rate", "clean_accuracy", "accepted_clean_accuracy",
    "samples", "accuracy", "accuracy_with_rejection", "ci_low", "ci_high", "successes", "detection_rate",
    "detection_low", "detection_high", "area_under_curve",
]  # fmt: skip
TOLERANCE = 1e-9
POINTS = np.linspace(0, 1, 51)  # false-positive rates at which a curve is given


def squeezing_scores(outputs: Sequence[np.ndarray], probabilities: bool) -> np.ndarray:
    """Return the score [N] of each sample: the largest L1 distance of its softmax output from a squeezed one.

    `outputs` [N, K] are those of the network on the samples themselves, then on the samples squeezed in each way:
    logits, or `probabilities` where the network ends in softmax.
    """
    plain, *squeezed = outputs if probabilities else [softmax(logits, axis=1) for logits in outputs]
    return np.max([np.abs(plain - other).sum(axis=1) for other in squeezed], axis=0)


def threshold_at(scores: np.ndarray, false_positive_rate: float) -> float:
    """Return the lowest of the `scores` of clean samples above which at most that share of them lies.

    Raises UserError when there are none.
    """
    if not len(scores):
        raise UserError("the validation split is empty: no threshold for a detector; set validation_samples")
    allowed = int(np.floor(false_positive_rate * len(scores) + TOLERANCE))
    return float(np.sort(scores)[len(scores) - 1 - allowed])


def detection_records(
    crafted: dict[str, np.ndarray],
    validation: Split,
    test: Split,
    predictors: dict[str, Sequence[Predictor]],
    probabilities: bool,
    false_positive_rate: float,
    constants: dict[str, Any],
) -> pd.DataFrame:
    """Score clean and stored adversarial samples on each kernel set of the target.

    `predictors` are, for each kernel set, the network and the network behind each squeezer. The threshold is fixed
    on the clean `validation` split. Returns one row for each test sample (`clean`, seed and budget empty) and for
    each adversarial one: the constants, kernels, sample, correct, score, threshold, false_positive_rate.
    """
    parts = []
    for kernels, predict in predictors.items():

        def judged(samples: np.ndarray, indices: np.ndarray, networks=predict) -> tuple[np.ndarray, np.ndarray]:
            outputs = [network(samples, indices) for network in networks]
            return outputs[0].argmax(axis=1), squeezing_scores(outputs, probabilities)

        _, scores = judged(validation.samples, np.arange(len(validation)))
        fixed = {"threshold": threshold_at(scores, false_positive_rate), "false_positive_rate": false_positive_rate}
        everywhere = {**constants, "kernels": kernels, **fixed}
        indices = np.arange(len(test))
        classes, scores = judged(test.samples, indices)
        clean = {"clean": True, "seed": -1, "budget": np.nan, "sample": indices}
        parts.append(pd.DataFrame({**everywhere, **clean, "correct": classes == test.labels, "score": scores}))
        indices = crafted["samples"]
        for s, seed in enumerate(crafted["seeds"]):
            for e, budget in enumerate(crafted["budgets"]):
                classes, scores = judged(crafted["adversarial"][s, e], indices)
                attacked = {"clean": False, "seed": seed, "budget": budget, "sample": indices}
                right = classes == test.labels[indices]
                parts.append(pd.DataFrame({**everywhere, **attacked, "correct": right, "score": scores}))
    return pd.concat(parts, ignore_index=True)


def detection(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each attack on each detector.

    realised_false_positive_rate: share of all clean test samples that are rejected. accepted_clean_accuracy: share
    that is right and accepted. accuracy: share of the attacked samples that are right clean and under attack, without
    the detector; accuracy_with_rejection: share that is right and accepted when clean and, under attack, right or
    rejected (Tramer et al. 2020), with Wilson's interval. detection_rate: share rejected among successes, which are
    samples that are right when clean and wrong under attack. area_under_curve: of detecting successes against all
    clean test samples.
    """
    rows = [{**key, **_rates(clean, attacked)} for key, clean, attacked in _settings(records)]
    return pd.DataFrame(rows, columns=[*SETTING, *RATES])


def roc(records: pd.DataFrame) -> pd.DataFrame:
    """Return the share of successes detected at every share of clean test samples rejected, on 51 points."""
    rows = []
    for key, clean, attacked in _settings(records):
        successes = _successes(clean, attacked)
        for share in POINTS:
            limit = np.quantile(clean["score"], 1 - share)
            detected = (successes["score"] > limit).mean() if share < 1 else 1.0
            rows.append({**key, "samples": len(successes), "false_positive_rate": share, "detection_rate": detected})
    return pd.DataFrame(rows, columns=[*SETTING, "samples", "false_positive_rate", "detection_rate"])


def _settings(records: pd.DataFrame):
    """Yield each attack on each detector: its key, the clean records by sample, and the attacked ones."""
    for network, rows in records.groupby(NETWORK, sort=False, observed=True):
        clean = rows[rows["clean"]].drop_duplicates("sample").set_index("sample")
        for attack, attacked in rows[~rows["clean"]].groupby(ATTACK, dropna=False, sort=False, observed=True):
            yield dict(zip(SETTING, (*network, *attack), strict=True)), clean, attacked


def _successes(clean: pd.DataFrame, attacked: pd.DataFrame) -> pd.DataFrame:
    right = clean.loc[attacked["sample"], "correct"].to_numpy()
    return attacked[right & ~attacked["correct"].to_numpy()]


def _rates(clean: pd.DataFrame, attacked: pd.DataFrame) -> dict[str, float]:
    threshold = attacked["threshold"].iloc[0]
    accepted = clean["score"] <= threshold
    before = clean.loc[attacked["sample"]]
    right, rejected = attacked["correct"].to_numpy(), attacked["score"].to_numpy() > threshold
    robust = before["correct"].to_numpy() & accepted.loc[attacked["sample"]].to_numpy() & (right | rejected)
    successes = _successes(clean, attacked)
    caught = int((successes["score"] > threshold).sum())
    intervals = wilson(int(robust.sum()), len(robust)), wilson(caught, len(successes))
    return {
        "threshold": threshold,
        "false_positive_rate": attacked["false_positive_rate"].iloc[0],
        "realised_false_positive_rate": 1 - accepted.mean(),
        "clean_accuracy": clean["correct"].mean(),
        "accepted_clean_accuracy": (clean["correct"] & accepted).mean(),
        "samples": len(attacked),
        "accuracy": (before["correct"].to_numpy() & right).mean(),
        "accuracy_with_rejection": robust.mean(),
        "ci_low": intervals[0][0],
        "ci_high": intervals[0][1],
        "successes": len(successes),
        "detection_rate": caught / len(successes) if len(successes) else np.nan,
        "detection_low": intervals[1][0],
        "detection_high": intervals[1][1],
        "area_under_curve": _area(clean["score"].to_numpy(), successes["score"].to_numpy()),
    }


def _area(clean: np.ndarray, adversarial: np.ndarray) -> float:
    """Return the probability that an adversarial score is above a clean one, ties counted by half."""
    if not len(clean) or not len(adversarial):
        return np.nan
    ordered = np.sort(clean)
    below, not_above = (np.searchsorted(ordered, adversarial, side) for side in ("left", "right"))
    return float((below + not_above).mean() / (2 * len(clean)))
