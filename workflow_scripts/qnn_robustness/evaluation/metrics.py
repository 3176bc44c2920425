"""From records to rates: accuracy, robust accuracy, success rate, paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from qnn_robustness.evaluation.statistics import PAIR, compared_pair, wilson
from qnn_robustness.evaluation.worst_case import with_adaptive

ATTACK = [
    "model",
    "training",
    "source",
    "target",
    "kernels",
    "attack",
    "protocol",
    "access",
    "norm",
    "budget",
    "lattice",
    "through",
]
SETTING = [*ATTACK, "preprocessor", "seed"]
NETWORK = ["model", "training", "preprocessor", "precision", "kernels"]
PAIRED = ["model", "training", "source", "target", "attack", "norm", "budget", "preprocessor", "seed"]


def robust_accuracy(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each setting (see `SETTING`) of the records.

    accuracy: share of all evaluated samples that the target classifies right both clean and under attack,
    with Wilson's interval. success_rate: share misclassified among the `eligible` samples, those that source and
    target classify right when clean, with Wilson's interval. Distortions (in the attack's norm): over successes
    among the same samples. levels: the 8-bit levels of an Linf budget on the uint8 lattice. ties: share of the samples
    whose two highest scores are equal under attack.
    """
    rows = [
        {**dict(zip(SETTING, key, strict=True)), **_rates(group)}
        for key, group in records.groupby(SETTING, dropna=False, sort=False, observed=True)
    ]
    return pd.DataFrame(rows)


def _rates(group: pd.DataFrame) -> dict[str, float]:
    robust = group["target_correct"] & group["adversarial_correct"]
    low, high = wilson(int(robust.sum()), len(group))
    eligible = group[group["source_correct"] & group["target_correct"]]
    successes = eligible[~eligible["adversarial_correct"]]
    distortions = successes[group["norm"].iloc[0]]
    q1, median, q3 = distortions.quantile([0.25, 0.5, 0.75])
    budget, lattice = group["budget"].iloc[0], group["lattice"].iloc[0]
    success_low, success_high = wilson(len(successes), len(eligible))
    return {
        "samples": len(group),
        "accuracy": robust.mean(),
        "ci_low": low,
        "ci_high": high,
        "success_rate": len(successes) / len(eligible) if len(eligible) else np.nan,
        "median_distortion": median,
        "q1_distortion": q1,
        "q3_distortion": q3,
        "median_queries": group["queries"].median(),
        "levels": budget * 255 if lattice == "uint8" and group["norm"].iloc[0] == "linf" else np.nan,
        "eligible": len(eligible),
        "success_ci_low": success_low,
        "success_ci_high": success_high,
        "ties": group["adversarial_tie"].mean(),
    }


def clean_accuracy(records: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy with Wilson's interval and the share of ties for each network, precision and kernel set.

    `balanced_accuracy` is the mean of the accuracies of the classes that have samples.
    """
    rows = []
    for key, group in records.groupby(NETWORK, sort=False, observed=True):
        balanced = {"balanced_accuracy": group.groupby("label")["correct"].mean().mean()}
        rows.append({**dict(zip(NETWORK, key, strict=True)), **_rate(group), "ties": group["tie"].mean(), **balanced})
    return pd.DataFrame(rows)


def class_accuracy(records: pd.DataFrame, classes: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return the clean accuracy of each class with Wilson's interval; `classes` names those of each model in order."""
    rows = []
    for key, network in records.groupby(NETWORK, sort=False, observed=True):
        for label, group in network.groupby("label"):
            names = {**dict(zip(NETWORK, key, strict=True)), "class": classes[key[0]][label]}
            rows.append({**names, **_rate(group)})
    return pd.DataFrame(rows)


def _rate(group: pd.DataFrame) -> dict[str, float]:
    low, high = wilson(int(group["correct"].sum()), len(group))
    return {"samples": len(group), "accuracy": group["correct"].mean(), "ci_low": low, "ci_high": high}


def paired_tests(records: pd.DataFrame, reported_kernels: dict[str, str], compared: str = "target") -> pd.DataFrame:
    """Compare two targets under the same attack, two sources on the same target, or two attacks (`compared`).

    One row for each pair that is equal in all else, each target on its `reported_kernels`. Counted are the samples
    that were attacked in both settings, and that their sources and targets classify right when clean. Given
    are the share of them that stays right on either side, their difference with its paired interval (Newcombe
    1998), and McNemar's exact p-value.
    """
    records = records[records["kernels"] == records["target"].map(reported_kernels)]
    records = records.assign(right=records["source_correct"] & records["target_correct"])
    keys = [name for name in PAIRED if name != compared]
    rows = []
    for key, group in records.groupby(keys, dropna=False, sort=False, observed=True):
        right = group.pivot_table(index="sample", columns=compared, values="right", aggfunc="all")
        stays = group.pivot_table(index="sample", columns=compared, values="adversarial_correct", aggfunc="all")
        for first, second in combinations(sorted(stays.columns), 2):
            counted = right[[first, second]].eq(True).all(axis=1)  # a sample that was not attacked is missing
            compare = compared_pair(*(stays.loc[counted, name].to_numpy(bool) for name in (first, second)))
            rows.append({**dict(zip(keys, key, strict=True)), "first": first, "second": second, **compare})
    return pd.DataFrame(rows, columns=[*keys, *PAIR])


def headline(clean: pd.DataFrame, defenses: pd.DataFrame, reported_kernels: dict[str, str]) -> pd.DataFrame:
    """Return the table that is shown first: clean accuracy and worst-case robust accuracy by Linf budget, in per cent.

    One row for each model, training, preprocessor and precision, on the `reported_kernels` of each precision.
    Columns of budgets are named by their 8-bit levels and hold "accuracy [ci_low, ci_high]", and behind a semicolon the
    same of the samples that every attack met, where these are fewer, and how many they are. A cell begins with an arrow
    where no adaptive attack on distances of this norm was made within the budget, and ends in "masked" where `defenses`
    say so. attacked samples: those of the budget with most of them; where another has fewer, its cells say how many.
    """
    keys = ["model", "training", "preprocessor", "precision", "kernels"]
    clean = clean[clean["kernels"] == clean["precision"].map(reported_kernels)]
    table = clean[keys].assign(**{"clean samples": clean["samples"], "clean": _with_interval(clean)})
    defenses = defenses.rename(columns={"target": "precision", "samples": "attacked samples"})
    worst = with_adaptive(defenses, [*keys, "norm", "budget"])
    most = worst.groupby(keys, sort=False, observed=True)["attacked samples"].max()
    table = table.merge(most.reset_index(), on=keys, how="left").astype({"attacked samples": "Int64"})
    worst = worst.merge(most.rename("most"), on=keys)
    for budget, rows in worst.groupby("budget"):
        column = rows[keys].assign(**{f"Linf {budget * 255:.4g}/255": _worst(rows)})
        table = table.merge(column, on=keys, how="left")
    return table


def _worst(rows: pd.DataFrame) -> list[str]:
    texts = zip(_with_interval(rows), _with_interval(rows, "_every_attack"), rows.to_dict("records"), strict=True)
    return [_worst_cell(cell, strict, row) for cell, strict, row in texts]


def _worst_cell(cell: str, strict: str, row: dict) -> str:
    samples, every = row["attacked samples"], row["samples_every_attack"]
    text = cell if row["adaptive"] else f"→ {cell}"
    text += "" if samples == row["most"] else f" of {samples}"
    text += "" if samples == every else f"; {strict} of {every}"
    return f"{text}, masked" if row["masked"] is True else text


def _with_interval(rows: pd.DataFrame, kind: str = "") -> list[str]:
    values = rows[[f"{name}{kind}" for name in ("accuracy", "ci_low", "ci_high")]].to_numpy() * 100
    return [f"{accuracy:.1f} [{low:.1f}, {high:.1f}]" for accuracy, low, high in values]
