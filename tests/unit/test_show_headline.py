"""The table that `make quickstart` ends with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from qnn_robustness.common.code_hash import LIBRARY

SCRIPT = LIBRARY.parent / "show_headline.py"


def show(*arguments: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def test_columns_are_aligned_and_the_report_is_named(tmp_path: Path) -> None:
    table, report = tmp_path / "headline.csv", tmp_path / "index.html"
    table.write_text("model,samples,accuracy\ncifar10_resnet8,1000,0.123456\ndigits,64,\n")
    report.touch()
    done = show(table, report)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "",
        "model            samples  accuracy",
        "cifar10_resnet8     1000    0.1235",
        "digits                64",
        "",
        f"Report: {report.resolve()}",
    ]


def test_a_terminal_without_arrows_shows_the_rest(tmp_path: Path) -> None:
    table, report = tmp_path / "headline.csv", tmp_path / "index.html"
    table.write_text("model,Linf 2/255\ndigits,→ 1.0\n", encoding="utf-8")
    report.touch()
    command = [sys.executable, SCRIPT, table, report]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, check=False)
    assert done.returncode == 0, done.stderr
    assert b"digits  ? 1.0" in done.stdout


def test_a_missing_or_empty_table_ends_in_one_line(tmp_path: Path) -> None:
    table, report = tmp_path / "headline.csv", tmp_path / "index.html"
    report.touch()
    missing = show(table, report)
    table.write_text("model,accuracy\n")
    empty = show(table, report)
    for done, problem in ((missing, "no such file"), (empty, "no rows")):
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert problem in done.stderr
