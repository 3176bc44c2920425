"""Detection by feature squeezing, on scores that can be counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from density_builder import random_density

from qnn_robustness.common.errors import UserError
from qnn_robustness.data.splits import Split
from qnn_robustness.defenses.shared.detector import squeezing_scores, threshold_at
from qnn_robustness.defenses.shared.likelihood import likelihood_scores
from qnn_robustness.defenses.shared.preprocessor import Preprocessor
from qnn_robustness.evaluation import judges
from qnn_robustness.evaluation.detection import (
    adversarial_detections,
    as_defense,
    clean_detections,
    detection,
    roc,
)
from qnn_robustness.evaluation.judges import load_judges
from qnn_robustness.evaluation.records import load_target
from qnn_robustness.evaluation.worst_case import defenses

RESNET = Path(__file__).resolve().parents[2] / "reference_models" / "cifar10_resnet8" / "pgd_adversarial"
NETWORK = {"model": "m", "training": "standard", "target": "int8", "detector": "d"}
ATTACK = {
    "source": "float32", "attack": "a", "protocol": "sound", "access": "white_box", "norm": "linf", "lattice": "uint8",
    "through": "none",
}  # fmt: skip


def test_the_score_is_the_largest_distance_of_softmax_outputs() -> None:
    plain = np.log(np.array([[0.5, 0.5], [0.9, 0.1]]))
    near, far = np.log(np.array([[0.6, 0.4], [0.9, 0.1]])), np.log(np.array([[0.5, 0.5], [0.2, 0.8]]))
    assert squeezing_scores([plain, near, far], False) == pytest.approx([0.2, 1.4])
    assert squeezing_scores([plain + 7, near - 3, far], False) == pytest.approx([0.2, 1.4])
    assert squeezing_scores([np.exp(plain), np.exp(near), np.exp(far)], True) == pytest.approx([0.2, 1.4])


def test_the_score_of_a_density_model_are_the_bits_of_the_nearest_8_bit_image() -> None:
    samples = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 1), dtype=np.uint8)
    bits = random_density(1).bits_per_dimension(samples)
    score = partial(likelihood_scores, random_density(1))
    np.testing.assert_array_equal(score(samples), bits)
    np.testing.assert_array_equal(score((samples / 255 + 0.4 / 255).astype(np.float32)), bits)
    assert (np.abs(score(255 - samples) - bits) > 1e-3).all()


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2, 0.5])
@pytest.mark.parametrize("count", [1, 19, 100, 1000])
def test_the_threshold_keeps_the_rate_and_none_lower_does(rate: float, count: int) -> None:
    scores = np.random.default_rng(0).permutation(count) / count
    threshold = threshold_at(scores, rate)
    assert (scores > threshold).mean() <= rate + 1e-12
    lower = scores[scores < threshold]
    assert not len(lower) or (scores > lower.max()).mean() > rate


def test_a_threshold_needs_a_validation_split() -> None:
    with pytest.raises(UserError, match="validation split is empty"):
        threshold_at(np.array([]), 0.05)


def images(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1)


def plain(samples: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return probabilities of two classes: the share of white."""
    bright = samples.reshape(len(samples)) / 255.0
    return np.stack([1 - bright, bright], axis=1)


def squeezed(samples: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return the same for the nearest of black and white."""
    return plain(np.rint(samples / 255) * 255, indices)


@pytest.fixture
def records() -> pd.DataFrame:
    crafted = {
        "adversarial": images(140, 230, 10, 5)[None, None],
        "samples": np.array([0, 1, 2, 3]),
        "seeds": np.array([0]),
        "budgets": np.array([0.1]),
        "metadata": np.array(json.dumps({"kernels": "reference"})),
    }
    validation = Split(images(*range(0, 100)), np.zeros(100, np.int64))
    test = Split(images(0, 20, 250, 100, 120), np.array([0, 0, 1, 0, 0]))

    def judge(samples: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        outputs = [plain(samples, indices), squeezed(samples, indices)]
        return outputs[0].argmax(axis=1), squeezing_scores(outputs, True)

    judges = {"reference": judge}
    clean = clean_detections(validation, test, judges, 0.05, NETWORK)
    return pd.concat([clean, adversarial_detections(crafted, test, judges, clean, NETWORK | ATTACK)], ignore_index=True)


def test_rates_are_counted_by_hand(records) -> None:
    (row,) = detection(records).to_dict("records")
    # Scores are twice the distance to the nearer of black and white: the highest five of the validation are above 94.
    assert row["threshold"] == pytest.approx(2 * 94 / 255)
    assert row["realised_false_positive_rate"] == pytest.approx(2 / 5)  # 100 and 120
    assert row["clean_accuracy"] == 1
    assert row["accepted_clean_accuracy"] == pytest.approx(3 / 5)
    assert (row["samples"], row["successes"]) == (4, 3)  # the last one stays right
    assert row["accuracy"] == pytest.approx(1 / 4)
    assert row["success_rate"] == pytest.approx(2 / 3)  # 230 and 10, of three that are right and accepted when clean
    assert row["detection_rate"] == pytest.approx(1 / 3)  # 140 is 115 from white; 230 and 10 look certain
    # 140 is rejected under attack; the last one is right under attack, but rejected when clean
    assert row["accuracy_with_rejection"] == pytest.approx(1 / 4)
    clean, adversarial = np.array([0, 20, 5, 100, 120]), np.array([115, 25, 10])
    pairs = adversarial[:, None] > clean
    assert row["area_under_curve"] == pytest.approx(pairs.mean())


def test_a_score_at_the_threshold_is_accepted(records) -> None:
    """Scores of clean samples are the candidates for the threshold, so that some are equal to it."""
    at = records.copy()
    at.loc[at["clean"] & (at["sample"] == 0), "score"] = at["threshold"]
    at.loc[~at["clean"] & (at["sample"] == 1), "score"] = at["threshold"]
    (row,) = detection(at).to_dict("records")
    assert row["realised_false_positive_rate"] == pytest.approx(2 / 5)
    assert row["accepted_clean_accuracy"] == pytest.approx(3 / 5)
    assert row["success_rate"] == pytest.approx(2 / 3)
    assert row["detection_rate"] == pytest.approx(1 / 3)
    defended = as_defense(at)
    assert defended["target_correct"].tolist() == [True, True, True, False]
    assert defended["adversarial_correct"].tolist() == [True, False, False, True]


@pytest.mark.parametrize(("rate", "expected"), [(0.19, 2.0), (0.2, 1.0), (0.59, 1.0), (0.6, 0.0), (1.0, 0.0)])
def test_of_tied_scores_all_or_none_are_rejected(rate: float, expected: float) -> None:
    scores = np.array([0.0, 1.0, 0.0, 2.0, 1.0])
    assert threshold_at(scores, rate) == expected
    assert (scores > expected).mean() <= rate


FILES = [("float32", "tensorflow"), ("int16", "reference"), ("int8", "reference")]


@pytest.mark.parametrize(("target", "kernels"), FILES)
def test_each_precision_has_the_preprocessor_in_front(target: str, kernels: str) -> None:
    path = str(RESNET / ("float32.keras" if target == "float32" else f"{target}.tflite"))
    samples, places = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8), np.arange(3, 9)
    none = {"method": None, "parameters": {}}
    resize = {"method": "random_resize_pad", "parameters": {"smallest": 0.5}}
    front = Preprocessor.of(resize).deployed((samples / np.float32(255)).astype(np.float32), places)
    plain = load_target(target, path, kernels, none)
    expected = plain(front, places)
    np.testing.assert_array_equal(load_target(target, path, kernels, resize)(samples, places), expected)
    assert (expected != plain(samples, places)).any(axis=1).all()
    judge = load_judges(target, path, [kernels], [none, resize], False, None)[kernels]
    classes, scores = judge(samples, places)
    np.testing.assert_array_equal(classes, plain(samples, places).argmax(axis=1))
    np.testing.assert_allclose(scores, squeezing_scores([plain(samples, places), expected], False), rtol=1e-6)


@pytest.mark.parametrize("broken", ["network", "squeezed"])
def test_scores_that_are_no_numbers_reject_nothing(broken: str, records, monkeypatch) -> None:
    """No class is right of such an answer, and a detector cannot find it above its threshold."""

    def load(target: str, network: str, kernels: str, front: dict) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        answer = np.log([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.9, 0.1]])
        answer[:2] = np.nan if front["method"] == broken else answer[:2]
        return lambda samples, indices: answer

    monkeypatch.setattr(judges, "load_target", load)
    fronts = [{"method": "network"}, {"method": "squeezed"}]
    classes, scores = load_judges("float32", "", ["tensorflow"], fronts, False, None)["tensorflow"](images(0), 0)
    attacked = ~records["clean"]
    records.loc[attacked, "score"], records.loc[attacked, "correct"] = scores, classes == np.array([0, 0, 1, 0])
    right = [broken == "squeezed", False, False, True]
    assert as_defense(records)["adversarial_correct"].tolist() == right
    assert records.loc[attacked, "correct"].tolist() == right
    assert detection(records)["detection_rate"].item() == 0


def test_the_curve_rises_from_nothing_to_everything(records) -> None:
    curve = roc(records)
    assert curve["false_positive_rate"].iloc[[0, -1]].tolist() == [0, 1]
    assert curve["detection_rate"].iloc[[0, -1]].tolist() == [0, 1]
    assert curve["detection_rate"].is_monotonic_increasing
    at = curve.set_index(curve["false_positive_rate"].round(2))["detection_rate"]
    assert at[0.2] == pytest.approx(1 / 3)  # above 100: the score of 115


def test_where_scores_tie_the_curve_is_a_straight_line_and_its_area_that_of_the_table(records) -> None:
    """Three of five clean samples have the lowest score, which no threshold tells from two of three successes."""
    tied = records.copy()
    tied["score"] = [0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 0.0]
    curve = roc(tied)
    at = curve.set_index(curve["false_positive_rate"].round(2))["detection_rate"]
    assert at[[0, 0.4, 0.7, 1]].tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1])
    area = np.trapezoid(curve["detection_rate"], curve["false_positive_rate"])
    assert area == pytest.approx(detection(tied)["area_under_curve"].item())


def test_without_a_success_there_is_no_curve(records) -> None:
    assert roc(records.assign(correct=True))["detection_rate"].isna().all()


def test_a_detector_is_a_defense_whose_rejections_count_as_robust(records) -> None:
    static = as_defense(records)
    assert static["target_correct"].tolist() == [True, True, True, False]  # 100 is rejected when clean
    assert static["adversarial_correct"].tolist() == [True, False, False, True]  # 140 is rejected, 5 stays right
    assert static["linf"].tolist() == pytest.approx([140 / 255, 210 / 255, 240 / 255, 95 / 255])
    assert static["preprocessor"].tolist() == ["d"] * 4
    near = static.assign(linf=0.1, source="int8")
    knowing = near.assign(attack="b", through="d", adversarial_correct=[False, True, True, True])
    table = defenses(pd.concat([near, knowing])).set_index("part")
    shares = {"static": 1 / 4, "adaptive": 2 / 4, "worst": 0.0}
    assert table["accuracy"].to_dict() == pytest.approx(shares)
    assert table.loc["worst", "attacks"] == 2
