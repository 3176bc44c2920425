"""What notebooks declare, and how tables of reports say numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.reports import planned, read_report
from qnn_robustness.evaluation import summaries


def notebook(folder: Path, name: str, text: str = "words", code: str = "1", **metadata: Any) -> Path:
    cells = [{"cell_type": "markdown", "source": [text]}, {"cell_type": "code", "source": [code]}]
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": metadata}), encoding="utf-8")
    return path


DECLARED = {"title": "A title", "tables": ["headline"], "figures": ["worst_case"]}


def test_a_report_is_what_its_notebook_declares(tmp_path: Path) -> None:
    report = read_report(notebook(tmp_path, "one", **DECLARED))
    assert (report.name, report.title, report.tables, report.figures) == ("one", *DECLARED.values())


def test_the_hash_is_of_the_text_and_not_of_the_code(tmp_path: Path) -> None:
    plain = read_report(notebook(tmp_path, "one", **DECLARED)).text_sha256
    assert read_report(notebook(tmp_path, "one", code="2", **DECLARED)).text_sha256 == plain
    assert read_report(notebook(tmp_path, "one", text="others", **DECLARED)).text_sha256 != plain
    assert read_report(notebook(tmp_path, "one", **{**DECLARED, "title": "Another"})).text_sha256 != plain


@pytest.mark.parametrize("content", ["no JSON", "[]", "{}", json.dumps({"cells": [], "metadata": {"title": "t"}})])
def test_what_is_no_report_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.ipynb"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"broken\.ipynb: no notebook with title, tables and figures"):
        read_report(path)


def test_a_notebook_is_planned_when_all_its_figures_are_drawn(tmp_path: Path) -> None:
    notebook(tmp_path, "drawn", **DECLARED)
    notebook(tmp_path, "without_figures", **{**DECLARED, "figures": []})
    notebook(tmp_path, "missing_one", **{**DECLARED, "figures": ["worst_case", "defenses"]})
    assert [report.name for report in planned(tmp_path, {"worst_case"})] == ["drawn", "without_figures"]


def test_numbers_have_three_digits_and_missing_ones_are_empty() -> None:
    page = summaries.as_table(pd.DataFrame({"a_b": [0.123456, np.nan, 12345.6]})).data
    assert [cell.split("</td>")[0] for cell in page.split("<td>")[1:]] == ["0.123", "", "12346"]
    assert "<th>a b</th>" in page


def test_accuracies_and_budgets_as_text() -> None:
    table = pd.DataFrame(
        {
            "accuracy": [0.5, 0.25, 1.0],
            "ci_low": [0.4, 0.2, 0.9],
            "ci_high": [0.6, 0.3, 1.0],
            "budget": [8 / 255, 0.5, np.nan],
            "norm": ["linf", "l2", "l2"],
        }
    )
    assert summaries.accuracy_text(table) == ["50.0 [40.0, 60.0]", "25.0 [20.0, 30.0]", "100.0 [90.0, 100.0]"]
    assert summaries.budget_text(table) == ["8/255", "0.5", ""]


def test_the_spread_is_the_largest_difference_within_a_group() -> None:
    clean = pd.DataFrame({"model": ["a", "a", "b", "b"], "training": "t", "accuracy": [0.8, 0.81, 0.7, 0.75]})
    assert summaries.spread(clean, ["model", "training"]) == "5.00 (b, t)"
