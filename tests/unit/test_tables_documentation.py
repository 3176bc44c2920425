"""docs/tables.md explains every table, record and stored array, column by column, and nothing that is not there."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qnn_robustness.data.splits import Split
from qnn_robustness.evaluation.detection import adversarial_detections, clean_detections
from qnn_robustness.evaluation.records import adversarial_records, clean_records

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "docs" / "results"
TEXT = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
# What the scripts add to records: the wildcards of the rule, and Configuration.attack_columns.
NETWORK = {"model": "m", "training": "standard"}
ATTACK = dict.fromkeys(["source", "attack", "protocol", "access", "norm", "lattice", "through"], "a")


def in_cells(text: str) -> list[str]:
    """Return the names in the first column of the tables of a section."""
    return [name for line in text.splitlines() if line.startswith("| `") for name in names(line.split(" | ")[0])]


def names(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def sections(text: str) -> dict[str, tuple[list[str], list[str]]]:
    """Return by heading the columns of a section: those it explains itself, and the shared ones that it lists."""
    found = {}
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = re.split(r"^## ", part, flags=re.MULTILINE)[0].partition("\n")
        listed = re.search(r"^Shared: (.*?)\.(?:\s|$)", body, flags=re.MULTILINE | re.DOTALL)
        found[heading] = in_cells(body), names(listed[1]) if listed else []
    return found


def published() -> dict[str, set[str]]:
    """Return the columns of each table in docs/results; those of Linf budgets under one name."""
    found: dict[str, set[str]] = {}
    for path in PUBLISHED.rglob("*.csv"):
        columns = {re.sub(r"^Linf [\d.]+/255$", "Linf k/255", name) for name in pd.read_csv(path, nrows=0)}
        found.setdefault(path.stem, set()).update(columns)
    return found


def faults(text: str, tables: dict[str, set[str]]) -> list[str]:
    """Return what the page lacks of the columns of `tables`, and what it has beyond them."""
    shared = in_cells(re.search(r"<!-- shared -->(.*)<!-- /shared -->", text, re.DOTALL)[1])
    page = sections(text.partition("## What tables are made of")[0])
    explained = {name: heading for heading in page for name in heading.split(", ")}
    found = [f"no section {table}" for table in sorted(tables.keys() - explained.keys())]
    found += [f"no table {table}" for table in sorted(explained.keys() - tables.keys())]
    for heading, (own, listed) in page.items():
        wanted = set().union(*(tables.get(name, set()) for name in heading.split(", ")))
        found += [f"{heading}: {column} is not explained" for column in sorted(wanted - {*own, *listed})]
        found += [f"{heading}: {column} is no column" for column in sorted({*own, *listed} - wanted)]
        found += [f"{heading}: {column} is not among the shared ones" for column in sorted({*listed} - {*shared})]
    lists = [column for _, listed in page.values() for column in listed]
    found += [f"{column} is shared by {lists.count(column)} tables" for column in shared if lists.count(column) < 2]
    return found


def test_every_column_of_the_published_tables_is_explained_and_no_other() -> None:
    assert faults(TEXT, published()) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("### masking\n", "### masks\n", "no section masking"),
        ("| `eligible` |", "| `eligibles` |", "robust_accuracy: eligible is not explained"),
        ("| `work` |", "| `work`, `play` |", "cost_and_robustness: play is no column"),
        ("| `fits` |", "| `fit` |", "device_cost: fits is not among the shared ones"),
        ("Shared: `class`.", "", "class_balance: class is not explained"),
    ],
)
def test_a_column_or_table_that_is_missing_is_noticed(old: str, new: str, fault: str) -> None:
    assert old in TEXT
    assert fault in faults(TEXT.replace(old, new), published())


def test_a_new_column_is_noticed() -> None:
    tables = published()
    assert faults(TEXT, {**tables, "device_cost": {*tables["device_cost"], "energy"}}) == [
        "device_cost: energy is not explained"
    ]


@pytest.fixture
def test_split() -> Split:
    return Split(np.zeros((3, 2, 2, 1), np.uint8), np.array([0, 1, 0]))


@pytest.fixture
def crafted(test_split: Split) -> dict[str, np.ndarray]:
    return {
        "adversarial": test_split.samples[None, None],
        "found": np.ones((1, 1, 3), bool),
        "queries": np.ones((1, 1, 3), np.int64),
        "samples": np.arange(3),
        "seeds": np.array([0]),
        "budgets": np.array([np.nan]),
        "metadata": np.array(json.dumps({"kernels": "reference"})),
        "snr": np.zeros((1, 1, 3)),  # of sound
    }


def scores(samples: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.eye(2)[np.zeros(len(samples), int)]


def test_every_column_of_records_is_explained_and_no_other(test_split: Split, crafted: dict) -> None:
    clean = clean_records(test_split, {"reference": scores})
    attacked = {**NETWORK, **ATTACK, "preprocessor": "none", "target": "int8"}
    records = adversarial_records(crafted, test_split, {"reference": scores}, clean, clean, attacked)
    page = sections(TEXT)
    assert set(page["records of attacks"][0]) == set(records)
    assert set(page["records of clean samples"][0]) == {*clean, *NETWORK, "preprocessor", "precision"}


def test_every_column_of_records_of_detectors_is_explained_and_no_other(test_split: Split, crafted: dict) -> None:
    judges = {"reference": lambda samples, indices: (np.zeros(len(samples), int), np.zeros(len(samples)))}
    constants = {**NETWORK, "detector": "d", "target": "int8"}
    clean = clean_detections(test_split, test_split, judges, 0.05, constants)
    records = adversarial_detections(crafted, test_split, judges, clean, {**constants, **ATTACK})
    assert set(clean) < set(records)
    assert set(sections(TEXT)["records of detectors"][0]) == set(records)


def test_every_stored_array_is_explained_and_no_other() -> None:
    script = ast.parse((ROOT / "workflow_scripts" / "craft_adversarial.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(script) if isinstance(node, ast.Call)]
    write = next(call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "write_arrays")
    subscripts = [node for node in ast.walk(script) if isinstance(node, ast.Subscript)]
    extra = {node.slice.value for node in subscripts if isinstance(node.value, ast.Name) and node.value.id == "extra"}
    stored = {keyword.arg for keyword in write.keywords if keyword.arg} | extra
    assert set(sections(TEXT)["crafted samples"][0]) == stored
