"""The notebooks: each says in its metadata which tables and figures it shows."""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import sha256_json


class Report(NamedTuple):
    """One notebook: its title, what it shows, and the hash of its text (its code is hashed elsewhere)."""

    name: str
    title: str
    tables: list[str]
    figures: list[str]
    text_sha256: str


def read_report(path: Path) -> Report:
    """Return what a notebook (.ipynb) declares in its metadata: `title`, `tables` and `figures`.

    Raises UserError when it declares none or is no notebook.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        metadata = content["metadata"]
        texts = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "markdown"]
        title, tables, figures = (metadata[key] for key in ("title", "tables", "figures"))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: no notebook with title, tables and figures in its metadata ({error})") from None
    return Report(path.stem, title, tables, figures, sha256_json([title, texts]))


def planned(folder: Path, figures: Container[str]) -> list[Report]:
    """Return the notebooks of a folder all of whose figures are drawn."""
    reports = map(read_report, sorted(folder.glob("*.ipynb")))
    return [report for report in reports if all(figure in figures for figure in report.figures)]
