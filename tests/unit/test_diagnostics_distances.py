"""Boundary distances, signs of masking, and explanations of transfer, from records of which the answer is known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from attack_models import Linear
from scipy import stats

from qnn_robustness.attacks import deepfool
from qnn_robustness.common.distances import distance
from qnn_robustness.evaluation.diagnostics import boundary_distance, transfer
from qnn_robustness.evaluation.diagnostics.tables import boundary_distance as distance_table
from qnn_robustness.evaluation.diagnostics.tables import (
    boundary_distance_tests,
    masking,
    transfer_bins,
    transfer_explained,
)

KERNELS = {"float32": "tensorflow", "int16": "reference", "int8": "reference"}
NETWORK = {"model": "m", "training": "t"}


def records(**columns: object) -> pd.DataFrame:
    """Return records of samples 0, 1, ...: what is not given is that of a white-box L2 attack that always succeeds."""
    samples = len(next(value for value in columns.values() if isinstance(value, list)))
    given = {
        **NETWORK, "source": "int8", "target": "int8", "kernels": None, "attack": "deepfool_l2", "access": "white_box",
        "norm": "l2", "lattice": "uint8", "protocol": "sound", "preprocessor": "none", "through": "none", "seed": 0,
        "budget": np.nan, "linf": 0.1, "l2": 1.0,
        "source_correct": True, "target_correct": True, "adversarial_correct": False, "sample": list(range(samples)),
    } | columns  # fmt: skip
    table = pd.DataFrame(given)
    table["kernels"] = table["kernels"].fillna(table["target"].map(KERNELS))
    table["source_kernels"] = table.get("source_kernels", table["source"].map(KERNELS))
    return table


def test_the_distance_of_a_linear_network_is_the_margin_over_the_norm_of_its_weights() -> None:
    random = np.random.default_rng(0)
    samples = random.uniform(0.4, 0.6, (6, 2, 2, 3)).astype(np.float32)
    model = Linear(samples, random.normal(size=(12, 3)).astype(np.float32), np.zeros(3, np.float32))
    parts = []
    for norm in ("l2", "linf"):
        attack = deepfool.build(norm, steps=50, overshoot=1e-3)
        _, found, _ = attack(model.tensorflow_model(), *_tensors(model), epsilons=None)
        adversarial = found.numpy()
        right = model.logits(adversarial).argmax(axis=1) == model.labels
        lengths = {name: list(distance(name, adversarial, samples)) for name in ("l2", "linf")}
        parts.append(records(attack=f"deepfool_{norm}", norm=norm, adversarial_correct=list(right), **lengths))
    rows = boundary_distance.measure({"own": pd.concat(parts)}, kernels=KERNELS)
    for norm in ("l2", "linf"):
        chosen = rows[rows["norm"] == norm].sort_values("sample")
        exact = np.linalg.norm(model.nearest(norm), 2 if norm == "l2" else np.inf, axis=1)
        np.testing.assert_allclose(chosen["distance"], exact, rtol=0.01)
        assert (chosen["attacks"] == 2).all()


def _tensors(model: Linear):
    import tensorflow as tf
    from foolbox.criteria import Misclassification

    return tf.constant(model.samples), Misclassification(tf.constant(model.labels))


def test_the_nearest_success_counts_and_failures_are_infinitely_far() -> None:
    first = records(l2=[1.0, 2, 3], adversarial_correct=[False, False, True])
    second = records(l2=[0.5, 4, 5], adversarial_correct=[True, False, True], attack="fmn_l2")
    xnnpack = records(l2=[0.1, 0.1, 0.1], kernels="xnnpack")
    transferred = records(l2=[0.1, 0.1, 0.1], source="float32")
    rows = boundary_distance.measure({"own": pd.concat([first, second, xnnpack, transferred])}, kernels=KERNELS)
    assert rows["distance"].tolist() == [1, 2, np.inf]
    assert rows["attack"].tolist()[:2] == ["deepfool_l2"] * 2
    assert rows["attack"].isna().tolist() == [False, False, True]
    assert set(rows["precision"]) == {"int8"}


def paired(shift: float, count: int = 40) -> pd.DataFrame:
    """Return distances on float32 and, farther by `shift`, on int8; one sample is wrong on int8, one never fooled."""
    random = np.random.default_rng(1)
    distances = random.uniform(1, 2, count)
    parts = [
        pd.DataFrame({**NETWORK, "precision": precision, "norm": "l2", "lattice": "uint8", "sample": range(count),
                      "correct": True, "attacks": 1, "distance": distances + extra})
        for precision, extra in (("float32", 0.0), ("int8", shift))
    ]  # fmt: skip
    rows = pd.concat(parts, ignore_index=True)
    int8 = rows["precision"] == "int8"
    rows.loc[int8 & (rows["sample"] == 0), "correct"] = False
    rows.loc[int8 & (rows["sample"] == 1), "distance"] = np.inf
    return rows


def test_paired_distances_are_compared_on_samples_that_all_precisions_classify_right() -> None:
    wide = distance_table.table(paired(0.25))
    assert wide["sample"].tolist() == list(range(1, 40))
    (row,) = boundary_distance_tests.table(paired(0.25)).to_dict("records")
    assert (row["first"], row["second"], row["samples"]) == ("float32", "int8", 39)
    assert row["difference"] == pytest.approx(0.25)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((0.25, 0.25))
    assert (row["farther"], row["nearer"], row["second_failed"]) == pytest.approx((1, 0, 1 / 39))
    assert row["sign_test_p"] == pytest.approx(2 * 0.5**39)
    assert row["wilcoxon_p"] < 1e-6


def test_without_a_common_sample_nothing_is_compared() -> None:
    rows = paired(0.25)
    rows.loc[rows["precision"] == "int8", "correct"] = False
    assert distance_table.table(rows).empty
    tests = boundary_distance_tests.table(rows)
    assert tests.empty
    assert list(tests) == list(boundary_distance_tests.table(paired(0.25)))
    assert "wilcoxon_p" in tests


def test_differences_of_as_many_levels_have_equal_ranks() -> None:
    levels = np.random.default_rng(2).integers(20, 60, (2, 40)) // [[1], [2]]
    rows = paired(0.0)
    rows["distance"] = levels.ravel() / 255
    (row,) = boundary_distance_tests.table(rows).to_dict("records")
    first, second = levels[:, 1:]
    assert row["wilcoxon_p"] == pytest.approx(stats.wilcoxon(second - first).pvalue, rel=1e-9)


def test_equal_distances_differ_in_nothing() -> None:
    rows = paired(0.0)
    rows = rows[rows["sample"] > 1]
    (row,) = boundary_distance_tests.table(rows).to_dict("records")
    assert (row["difference"], row["farther"], row["nearer"]) == (0, 0, 0)
    assert row["sign_test_p"] == row["wilcoxon_p"] == 1


def test_masking_is_where_other_attacks_come_nearer() -> None:
    white = records(l2=[1.0, 2, 3, 4], adversarial_correct=[False, False, False, True])
    black = records(l2=[0.9, 2, 5, 4], access="decision", attack="boundary_l2")
    other = records(l2=[1.5, 1.5, 1.5], source="float32", adversarial_correct=[False, False, True])
    linf = records(l2=[0.1] * 4, norm="linf", access="score")
    defended = records(l2=[0.1] * 4, access="score", preprocessor="bits")
    paper = records(l2=[0.1] * 4, access="decision", protocol="paper", lattice="float")
    snr = records(l2=[0.1] * 4, norm="snr")
    rounded = records(l2=[0.1] * 4, source_kernels="xnnpack")  # the samples of a network that rounds otherwise
    found = masking.table(pd.concat([white, black, other, linf, defended, paper, snr, rounded])).set_index("against")
    assert found.loc["black_box", ["samples", "nearer", "only_other", "only_white_box"]].tolist() == [4, 0.5, 1, 0]
    assert found.loc["transferred", ["samples", "nearer", "only_other", "only_white_box"]].tolist() == [3, 1 / 3, 0, 1]
    assert masking.table(white.assign(access="score")).empty


def test_what_white_box_attacks_did_not_look_for_is_no_sign_of_masking() -> None:
    """They met samples 0 to 3 within 1 and 4; an attack without budget met sample 4."""
    budgets = [
        records(linf=[4.0] * 4, norm="linf", budget=budget, adversarial_correct=correct)
        for budget, correct in ((1.0, [True] * 4), (4.0, [False, False, True, True]))
    ]
    free = records(linf=[6.0] * 5, norm="linf")[4:]
    other = records(linf=[3.0, 1.0, 7.0, 2.0, 5.0], norm="linf", source="float32")
    (row,) = masking.table(pd.concat([*budgets, free, other])).to_dict("records")
    # 0: found within 4 by both; 1: within 1 by the other alone; 2: beyond 4; 3: within 4 by the other alone; 4: nearer
    assert (row["samples"], row["nearer"], row["only_other"], row["only_white_box"]) == (5, 3 / 5, 1, 0)


def explained(seeds: tuple[int, ...] = (0,)) -> pd.DataFrame:
    """Return transfers of 40 samples from float32 to int8 that succeed where the gradients are aligned."""
    count, budget = 40, 2 / 255
    cosine = np.linspace(-1, 1, count)
    pgd = {"attack": "pgd_linf", "norm": "linf", "budget": budget, "source": "float32"}
    succeeds = cosine > 0
    own = records(**pgd, target="float32", adversarial_correct=[i == 0 for i in range(count)])
    away = records(
        **pgd, target="int8", adversarial_correct=list(~succeeds), target_correct=[i != 1 for i in range(count)]
    )
    alignment = pd.DataFrame({"first": "float32", "second": "int8", "loss": "margin", "sample": range(count),
                              "cosine": cosine, "sign_agreement": 0.5})  # fmt: skip
    shift = pd.DataFrame(
        [
            {"direction": "gradient", "size": size, "precision": "int8", "place": place, "sample": sample,
             "noise_float32": 1.0, "noise": 10.0 * place}
            for size, place, sample in product((1 / 255, 2 / 255), (0, 1), range(count))
        ]
    )  # fmt: skip
    far = pd.DataFrame({"precision": "int8", "norm": "linf", "sample": range(count), "distance": 4 / 255})
    attacks = pd.concat([rows.assign(seed=seed) for seed in seeds for rows in (own, away)])
    parts = {"attacks": attacks, "gradient_alignment": alignment,
             "quantization_shift": shift, "boundary_distance": far}  # fmt: skip
    return transfer.measure(parts, kernels=KERNELS).assign(**NETWORK)


def test_transfers_are_those_of_samples_that_fool_the_source_and_are_right_when_clean() -> None:
    rows = explained()
    assert rows["sample"].tolist() == list(range(2, 40))  # 0 does not fool the source, 1 is wrong on the target
    np.testing.assert_allclose(rows["distance"], 2)
    np.testing.assert_allclose(rows["gain"], 20)  # ten times as much at the logits
    assert rows["success"].equals(rows["cosine"] > 0)
    pd.testing.assert_frame_equal(explained(seeds=(0, 1)), rows)


def test_what_decides_transfer_has_an_area_of_one_and_what_is_constant_one_half() -> None:
    rows = explained()
    areas = transfer_explained.table(rows).set_index("explanation")
    assert areas.loc["cosine", "auc"] == 1
    assert areas.loc[["gain", "distance", "sign_agreement"], "auc"].tolist() == [0.5] * 3
    assert areas["successes"].tolist() == [20] * 4
    bins = transfer_bins.table(rows)
    rates = bins[bins["explanation"] == "cosine"].sort_values("bin")
    assert rates["success_rate"].tolist() == pytest.approx([0, 1 / 9, 1, 1])  # 18 of 38 do not
    assert rates["samples"].sum() == len(rows)


def test_without_transfers_the_tables_are_empty_but_have_columns() -> None:
    rows = explained().head(0)
    assert transfer_explained.table(rows).columns.tolist() == transfer_explained.COLUMNS
    assert transfer_bins.table(rows).columns.tolist() == transfer_bins.COLUMNS


def test_a_single_transfer_falls_into_the_first_bin() -> None:
    bins = transfer_bins.table(explained().head(1))
    assert bins["bin"].tolist() == [1] * len(bins)
    assert (bins["samples"] == 1).all()
