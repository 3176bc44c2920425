"""The tables of results/tables, one function each, from the files of the stages before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from qnn_robustness.evaluation import cost_and_robustness as worth
from qnn_robustness.evaluation import detection as detectors
from qnn_robustness.evaluation import findings as verdicts
from qnn_robustness.evaluation import metrics
from qnn_robustness.evaluation import worst_case as worst
from qnn_robustness.evaluation.attack_suite import attack_suite
from qnn_robustness.evaluation.diagnosed import diagnosed_findings

EXACTNESS = ("network", "precision", "kernels", "inputs", "bytes_compared", "differing_bytes")


def _records(paths: Iterable[str]) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in dict.fromkeys(paths)], ignore_index=True)


def _summaries(inputs: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    return [json.loads(Path(path).read_text(encoding="utf-8")) for path in inputs["summaries"]]


def _defended(inputs: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return the records of attacks on networks, behind a preprocessor or not, and on those watched by a detector."""
    records = _records(inputs["records"])
    if not inputs["detections"]:
        return records
    return pd.concat([records, detectors.as_defense(_records(inputs["detections"]))], ignore_index=True)


def clean_accuracy(inputs: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return the clean accuracy of every network, preprocessor, precision and kernel set."""
    return metrics.clean_accuracy(_records(inputs["records"]))


def class_accuracy(inputs: Mapping[str, list[str]], datasets: Mapping[str, str]) -> pd.DataFrame:
    """Return the clean accuracy of every network on each class; `datasets` says which data each model classifies."""
    classes = {summary["dataset"]: summary["classes"] for summary in _summaries(inputs)}
    return metrics.class_accuracy(_records(inputs["records"]), {m: classes[data] for m, data in datasets.items()})


def class_balance(inputs: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return how many samples of each class the splits of each data set have."""
    rows = [
        {"dataset": summary["dataset"], "class": name}
        | {split: counts[name] for split, counts in summary["samples_per_class"].items()}
        for summary in _summaries(inputs)
        for name in summary["classes"]
    ]
    return pd.DataFrame(rows)


def robust_accuracy(inputs: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return the robust accuracy and success rate of every attack on every target."""
    return metrics.robust_accuracy(_records(inputs["records"]))


def concatenation(inputs: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return the rows of several tables, each row once."""
    return pd.concat([pd.read_csv(path) for path in inputs["tables"]], ignore_index=True).drop_duplicates()


def integer_model_exactness(inputs: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return the comparisons of all integer models with the interpreter; there may be none."""
    return concatenation(inputs) if inputs["tables"] else pd.DataFrame(columns=EXACTNESS)


def worst_case(inputs: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return the robust accuracy against all attacks together."""
    return worst.worst_case(_defended(inputs))


def defenses(inputs: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return the worst case beside static, transferred and adaptive attacks, with the flag for masked gradients."""
    return worst.defenses(_defended(inputs))


def paired_worst_cases(inputs: Mapping[str, list[str]], kernels: dict[str, str]) -> pd.DataFrame:
    """Return the paired comparison of what all attacks together leave."""
    return worst.paired_worst_cases(_defended(inputs), kernels)


def paired_tests(inputs: Mapping[str, list[str]], kernels: dict[str, str], compared: str) -> pd.DataFrame:
    """Return the paired comparison of targets, sources or attacks."""
    return metrics.paired_tests(_records(inputs["records"]), kernels, compared)


def findings(inputs: Mapping[str, list[str]], undefended: list[str]) -> pd.DataFrame:
    """Return what the run says about the findings of the first paper.

    `undefended` are the networks (model/training) without defense. The tables of the diagnostics are among the inputs
    where some network is diagnosed.
    """
    tables = {name: pd.read_csv(path) for name, path in inputs.items()}
    attacked = verdicts.findings(tables.pop("robust_accuracy"), tables.pop("paired_tests"), undefended)
    if not tables:
        return attacked
    looked_into = diagnosed_findings(**tables).assign(protocol="sound")
    return pd.concat([looked_into[attacked.columns], attacked], ignore_index=True)


def headline(inputs: Mapping[str, list[str]], kernels: dict[str, str]) -> pd.DataFrame:
    """Return clean and worst-case robust accuracy side by side, as text with intervals."""
    clean, robust = pd.read_csv(inputs["clean_accuracy"]), pd.read_csv(inputs["defenses"])
    return metrics.headline(clean, robust, kernels)


def attacks(inputs: Mapping[str, list[str]], kernels: dict[str, str]) -> pd.DataFrame:
    """Return all attacks side by side, as text."""
    return attack_suite(pd.read_csv(inputs["robust_accuracy"]), kernels)


def cost_and_robustness(inputs: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return worst-case robust accuracy beside what each defended network costs on a microcontroller."""
    costs, robust = (pd.read_csv(inputs[name]) for name in ("device_cost", "defenses"))
    return worth.cost_and_robustness(costs, robust)


def detection(inputs: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return what each detector makes of each attack."""
    return detectors.detection(_records(inputs["records"]))


def detection_roc(inputs: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return the curves of detection against false positives."""
    return detectors.roc(_records(inputs["records"]))
