"""The table of all attacks: own samples before transferred ones, budgets in one cell, distortions of minimal ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qnn_robustness.evaluation.attack_suite import attack_suite

KERNELS = {"float32": "tensorflow", "int16": "reference", "int8": "reference"}


def row(source: str, target: str, accuracy: float, budget: float | None = None, **others: object) -> dict[str, object]:
    budgeted = budget is not None
    return {
        "model": "m",
        "training": "standard",
        "source": source,
        "target": target,
        "kernels": KERNELS[target],
        "attack": "pgd" if budgeted else "deepfool",
        "protocol": "sound",
        "access": "white_box",
        "norm": "linf" if budgeted else "l2",
        "budget": budget if budgeted else np.nan,
        "levels": budget * 255 if budgeted else np.nan,
        "through": "none",
        "preprocessor": "none",
        "seed": 0,
        "samples": 40,
        "accuracy": accuracy,
        "median_distortion": 0.20084,
        **others,
    }


def test_each_precision_is_attacked_by_its_own_samples_or_by_those_of_float32() -> None:
    records = [
        row("float32", "float32", 0.5, 1 / 255),
        row("float32", "int8", 0.9, 1 / 255),
        row("int8", "int8", 0.25, 1 / 255),
        row("float32", "float32", 0.125, 2 / 255),
        row("int8", "int8", 0.0, 2 / 255),
        row("float32", "int8", 0.8, 2 / 255),
        row("int8", "float32", 0.7, 1 / 255),
        row("float32", "float32", 0.0),
        row("float32", "int8", 0.75),
    ]
    table = attack_suite(pd.DataFrame(records), KERNELS)
    assert table.columns.tolist()[-4:] == ["budgets", "samples", "float32", "int8"], "int16 was not evaluated"
    assert table["attack"].tolist() == ["pgd", "deepfool"]
    assert table["budgets"].tolist() == ["1/255, 2/255", "minimal"]
    assert table["float32"].tolist() == ["50.0 / 12.5", "0.0 (0.201)"]
    assert table["int8"].tolist() == ["25.0 / 0.0", "→ 75.0 (0.201)"]


def test_other_kernels_preprocessors_and_attacks_through_them_are_left_out_and_seeds_averaged() -> None:
    records = [
        row("int8", "int8", 0.5, 0.0005, levels=np.nan),
        row("int8", "int8", 0.25, 0.0005, levels=np.nan, seed=1),
        row("int8", "int8", 0.9, 0.0005, kernels="xnnpack"),
        row("int8", "int8", 0.9, 0.0005, preprocessor="median_2"),
        row("int8", "int8", 0.9, 0.0005, preprocessor="median_2", through="median_2"),
        row("int16", "float32", 0.9, 0.0005, levels=np.nan),
    ]
    table = attack_suite(pd.DataFrame(records), KERNELS)
    assert table[["budgets", "float32", "int8"]].to_numpy().tolist() == [["0.0005", "", "37.5"]]


def test_without_a_success_there_is_no_distortion() -> None:
    record = row("int8", "int8", 0.9, np.nan, levels=np.nan) | {"median_distortion": np.nan}
    (cell,) = attack_suite(pd.DataFrame([record]), KERNELS)["int8"]
    assert cell == "90.0"
