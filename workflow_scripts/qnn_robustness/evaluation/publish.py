"""What a run leaves in the repository: small tables and figures with a manifest, and what of them the README shows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import sha256_file, write_text

MANIFEST = "MANIFEST.sha256"
LARGEST = 1_000_000  # bytes of a published file
SHOWN = ("headline", "attacks")  # tables that the README may show


def publish(results: Path, root: Path, run: str) -> None:
    """Copy results/tables/*.csv and results/figures/*.{svg,png} to `root`/docs/results/`run`.

    Files of an earlier run of this name are removed; the manifest, the tables in the README and the comparison of
    integer models over all published runs are written anew.

    Raises UserError when `run` is no plain name, there are no tables, a file is too large for a repository, or the
    README has no marks for a table of this run.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", run):
        raise UserError(f"{run}: no name of a run; expected lower-case letters, digits and _, such as cifar10")
    sources = [*sorted((results / "tables").glob("*.csv")), *sorted((results / "figures").glob("*.*"))]
    if not any(path.suffix == ".csv" for path in sources):
        raise UserError(f"{results / 'tables'}: no tables; run snakemake first")
    for path in sources:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path}: {path.stat().st_size} bytes; expected at most {LARGEST} for a published file")
    published = root / "docs" / "results"
    shutil.rmtree(published / run, ignore_errors=True)
    (published / run).mkdir(parents=True)
    for path in sources:
        shutil.copyfile(path, published / run / path.name)
    _gather(published, "integer_model_exactness.csv")
    write_manifest(published)
    _show(root / "README.md", published / run, run)


def _show(readme: Path, published: Path, run: str) -> None:
    """Write the tables of a run into the README, where it has their marks.

    Raises UserError when it has none.
    """
    text = readme.read_text(encoding="utf-8")
    shown = [table for table in SHOWN if f"<!-- {table}:{run} -->" in text]
    if not shown:
        raise UserError(f"{readme}: the page lacks the marks <!-- {SHOWN[0]}:{run} --> and <!-- /{SHOWN[0]}:{run} -->")
    for table in shown:
        rows = pd.read_csv(published / f"{table}.csv", keep_default_na=False)
        text = with_table(text, f"{table}:{run}", markdown(rows))
    write_text(readme, text)


def _gather(published: Path, table: str) -> None:
    """Write what the published runs have of a table below each other, beside their folders.

    Rows for the same network, as several runs may have them, become one with the most bytes: random and test inputs are
    the same in each run, and would count twice in a sum.
    """
    parts = [pd.read_csv(path) for path in sorted(published.glob(f"*/{table}"))]
    if parts:
        rows = pd.concat(parts)
        keys = [column for column in rows if not column.endswith("_bytes") and not column.startswith("bytes_")]
        write_text(published / table, rows.groupby(keys, sort=False, as_index=False).max().to_csv(index=False))


def write_manifest(published: Path) -> None:
    """Write the hashes of all files below `published`, in the form of sha256sum."""
    files = sorted(path for path in published.rglob("*") if path.is_file() and path.name != MANIFEST)
    lines = [f"{sha256_file(path)}  {path.relative_to(published).as_posix()}\n" for path in files]
    write_text(published / MANIFEST, "".join(lines))


def markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_table(text: str, name: str, table: str) -> str:
    """Return `text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced by `table`.

    Raises UserError when the marks are missing.
    """
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    if not pattern.search(text):
        raise UserError(f"the page lacks the marks <!-- {name} --> and <!-- /{name} -->")
    return pattern.sub(lambda marks: f"{marks[1]}{table}{marks[2]}", text)
