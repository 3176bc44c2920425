"""Detection of adversarial samples by feature squeezing (Xu et al. 2018, section V) or by likelihood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from qnn_robustness.common.distances import NORMS, distance
from qnn_robustness.defenses.shared.detector import TOLERANCE, threshold_at
from qnn_robustness.evaluation.statistics import wilson

if TYPE_CHECKING:  # the tables of detection depend on neither
    from qnn_robustness.data.splits import Split
    from qnn_robustness.evaluation.judges import Judge

NETWORK = ["model", "training", "detector", "target", "kernels"]
ATTACK = ["source", "attack", "protocol", "access", "norm", "budget", "lattice", "through", "seed"]
SETTING = [*NETWORK, *ATTACK]
RATES = [
    "threshold", "false_positive_rate", "realised_false_positive_rate", "clean_accuracy", "accepted_clean_accuracy",
    "samples", "accuracy", "accuracy_with_rejection", "ci_low", "ci_high", "success_rate", "successes",
    "detection_rate", "detection_low", "detection_high", "area_under_curve",
]  # fmt: skip
POINTS = np.linspace(0, 1, 51)  # false-positive rates at which a curve is given


def clean_detections(
    validation: Split, test: Split, judges: dict[str, Judge], false_positive_rate: float, constants: dict[str, Any]
) -> pd.DataFrame:
    """Score the clean test split on each kernel set of the target; fix the threshold on the clean `validation` split.

    Returns one row for each test sample: the constants, kernels, clean (true), sample, correct, score, threshold and
    false_positive_rate.
    """
    parts = []
    for kernels, judge in judges.items():
        _, scores = judge(validation.samples, np.arange(len(validation)))
        fixed = {"threshold": threshold_at(scores, false_positive_rate), "false_positive_rate": false_positive_rate}
        indices = np.arange(len(test))
        classes, scores = judge(test.samples, indices)
        found = {"clean": True, "sample": indices, "correct": classes == test.labels, "score": scores}
        parts.append(pd.DataFrame({**constants, "kernels": kernels, **fixed, **found}))
    return pd.concat(parts, ignore_index=True)


def adversarial_detections(
    crafted: dict[str, np.ndarray],
    test: Split,
    judges: dict[str, Judge],
    clean: pd.DataFrame,
    constants: dict[str, Any],
) -> pd.DataFrame:
    """Score stored adversarial samples on each kernel set of the target, with the thresholds of `clean_detections`.

    Returns one row for each sample, seed and budget: the columns of the clean ones (clean is false), source_kernels
    (those that the attack asked), seed, budget, and the distance in each norm from the clean sample.
    """
    fixed = clean.drop_duplicates("kernels").set_index("kernels")[["threshold", "false_positive_rate"]]
    indices, parts = crafted["samples"], []
    constants = {**constants, "source_kernels": json.loads(str(crafted["metadata"]))["kernels"]}
    for kernels, judge in judges.items():
        everywhere = {**constants, "kernels": kernels, **fixed.loc[kernels]}
        for s, seed in enumerate(crafted["seeds"]):
            for e, budget in enumerate(crafted["budgets"]):
                adversarial = crafted["adversarial"][s, e]
                classes, scores = judge(adversarial, indices)
                found = {"clean": False, "seed": seed, "budget": budget, "sample": indices, "score": scores}
                found["correct"] = classes == test.labels[indices]
                distances = {norm: distance(norm, adversarial, test.samples[indices]) for norm in NORMS}
                parts.append(pd.DataFrame({**everywhere, **found, **distances}))
    return pd.concat(parts, ignore_index=True)


def as_defense(records: pd.DataFrame) -> pd.DataFrame:
    """Return records of detection as those of a defense, for its worst case: the detector stands for a preprocessor.

    target_correct: right and accepted when clean. adversarial_correct: right or rejected under attack, since an attack
    has failed on what is rejected.
    """
    keys = [*NETWORK, "sample"]
    accepted = records["score"] <= records["threshold"]
    clean = records[keys].assign(target_correct=records["correct"] & accepted)[records["clean"]].drop_duplicates(keys)
    attacked = records.assign(adversarial_correct=records["correct"] | ~accepted, preprocessor=records["detector"])
    return attacked[~records["clean"]].merge(clean, on=keys, validate="many_to_one")


def detection(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each attack on each detector.

    realised_false_positive_rate: share of all clean test samples that are rejected. accepted_clean_accuracy: share
    that is right and accepted. accuracy: share of the attacked samples that are right clean and under attack, without
    the detector; accuracy_with_rejection: share that is right and accepted when clean and, under attack, right or
    rejected (Tramer et al. 2020), with Wilson's interval. success_rate: share wrong and accepted under attack among
    those that are right and accepted when clean. detection_rate: share rejected among successes, which are samples that
    are right when clean and wrong under attack. area_under_curve: of detecting successes against all
    clean test samples.
    """
    rows = [{**key, **_rates(clean, attacked)} for key, clean, attacked in _settings(records)]
    return pd.DataFrame(rows, columns=[*SETTING, *RATES])


def roc(records: pd.DataFrame) -> pd.DataFrame:
    """Return the share of successes detected at every share of clean test samples rejected, on 51 points.

    Shares between those of two thresholds are reached by lot among the samples whose scores are equal.
    """
    rows = []
    for key, clean, attacked in _settings(records):
        successes = _successes(clean, attacked)
        rates = _curve(clean["score"].to_numpy(), successes["score"].to_numpy())
        for share, rate in zip(POINTS, rates, strict=True):
            rows.append({**key, "samples": len(successes), "false_positive_rate": share, "detection_rate": rate})
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
    eligible = before["correct"].to_numpy() & accepted.loc[attacked["sample"]].to_numpy()
    robust = eligible & (right | rejected)
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
        "success_rate": 1 - robust.sum() / eligible.sum() if eligible.any() else np.nan,
        "successes": len(successes),
        "detection_rate": caught / len(successes) if len(successes) else np.nan,
        "detection_low": intervals[1][0],
        "detection_high": intervals[1][1],
        "area_under_curve": _area(clean["score"].to_numpy(), successes["score"].to_numpy()),
    }


def _curve(clean: np.ndarray, adversarial: np.ndarray) -> np.ndarray:
    """Return the shares of adversarial scores that are rejected at `POINTS`; nan without any."""
    if not len(adversarial):
        return np.full(len(POINTS), np.nan)
    limits = np.unique(clean)[::-1]

    def rejected(scores: np.ndarray) -> np.ndarray:
        """Return the shares above each limit, and from it on, in turn; and at last all."""
        kept = [np.searchsorted(np.sort(scores), limits, side) for side in ("right", "left")]
        return np.append(1 - np.column_stack(kept).ravel() / len(scores), 1)

    return np.interp(POINTS + TOLERANCE, rejected(clean), rejected(adversarial))


def _area(clean: np.ndarray, adversarial: np.ndarray) -> float:
    """Return the probability that an adversarial score is above a clean one, ties counted by half."""
    if not len(clean) or not len(adversarial):
        return np.nan
    ordered = np.sort(clean)
    below, not_above = (np.searchsorted(ordered, adversarial, side) for side in ("left", "right"))
    return float((below + not_above).mean() / (2 * len(clean)))
