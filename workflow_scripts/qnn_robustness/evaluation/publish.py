"""What a run leaves in the repository: small tables and figures with a manifest, and what of them the pages show."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import sha256_file, write_text
from qnn_robustness.models import reference
from qnn_robustness.models.density.pixel_cnn import load_density

MANIFEST = "MANIFEST.sha256"
LARGEST = 1_000_000  # bytes of a published file
SHOWN = ("headline", "attacks")  # tables that a page may show
PAGES = ("README.md", "docs/results/README.md")
FINDINGS = "findings"  # the mark of what all published runs say about the findings of the first paper
DENSITIES = "densities"  # the mark of the density models that are kept with the project


def publish(results: Path, root: Path, run: str) -> None:
    """Copy results/tables/*.csv and results/figures/*.* to `root`/docs/results/`run`.

    Files of an earlier run of this name are removed; the manifest, the tables in the pages (PAGES), among them that of
    the density models kept with the project, and what all published runs say about integer models and about the
    findings of the first paper are written anew.

    Raises UserError, before anything is changed, when `run` is no plain name, there are no tables, a file is too large
    for a repository, a page is missing, no page has marks for a table of this run, or one has for a table that the run
    does not have, or a density model that is kept is damaged.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", run):
        raise UserError(f"{run}: no name of a run; expected lower-case letters, digits and _, such as cifar10")
    sources = [*sorted((results / "tables").glob("[!.]*.csv")), *sorted((results / "figures").glob("[!.]*.*"))]
    if not any(path.suffix == ".csv" for path in sources):
        raise UserError(f"{results / 'tables'}: no tables; run snakemake first")
    for path in sources:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path}: {path.stat().st_size} bytes; expected at most {LARGEST} for a published file")
    pages = _pages(root, run, {path.stem for path in sources})
    pages = {page: with_densities(text, root / reference.FOLDER) for page, text in pages.items()}
    published = root / "docs" / "results"
    shutil.rmtree(published / run, ignore_errors=True)
    (published / run).mkdir(parents=True)
    for path in sources:
        shutil.copyfile(path, published / run / path.name)
    _gather(published, "integer_model_exactness.csv")
    gather_findings(published)
    write_manifest(published)
    for page, text in pages.items():
        write_text(page, with_findings(with_tables(text, published / run, run), published))


def _pages(root: Path, run: str, tables: Collection[str]) -> dict[Path, str]:
    """Return the texts of the pages; see `publish` for what is wrong with them."""
    missing = [str(root / page) for page in PAGES if not (root / page).is_file()]
    if missing:
        raise UserError(f"{missing[0]}: missing; it shows the published results")
    pages = {root / page: (root / page).read_text(encoding="utf-8") for page in PAGES}
    shown = {page: shown_tables(text, run) for page, text in pages.items()}
    if not any(shown.values()):
        mark = f"{SHOWN[0]}:{run}"
        raise UserError(f"{root / PAGES[-1]}: the page lacks the marks <!-- {mark} --> and <!-- /{mark} -->")
    for page, names in shown.items():
        for name in names:
            if name not in tables:
                raise UserError(f"{page}: has marks for {name}:{run}, but the run has no table {name}")
            if f"<!-- /{name}:{run} -->" not in pages[page]:
                raise UserError(f"{page}: lacks the closing mark <!-- /{name}:{run} -->")
    return pages


def shown_tables(page: str, run: str) -> list[str]:
    """Return the tables of a run that the text of a page has marks for."""
    return [table for table in SHOWN if f"<!-- {table}:{run} -->" in page]


def with_tables(page: str, published: Path, run: str) -> str:
    """Return the text of a page with the tables of a run, read from `published`, between their marks."""
    for table in shown_tables(page, run):
        rows = pd.read_csv(published / f"{table}.csv", keep_default_na=False)
        page = with_table(page, f"{table}:{run}", markdown(rows))
    return page


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


def gather_findings(published: Path) -> None:
    """Write what the published runs say about the findings of the first paper below each other: findings.csv."""
    parts = [pd.read_csv(path).assign(run=path.parent.name) for path in sorted(published.glob(f"*/{FINDINGS}.csv"))]
    if parts:
        write_text(published / f"{FINDINGS}.csv", pd.concat(parts).to_csv(index=False))
    else:
        (published / f"{FINDINGS}.csv").unlink(missing_ok=True)


def with_findings(page: str, published: Path) -> str:
    """Return the text of a page with the findings by run between their marks, if it has these.

    A cell says in how many settings a run bears the finding out, contradicts it, and leaves it open.
    """
    path = published / f"{FINDINGS}.csv"
    if f"<!-- {FINDINGS} -->" not in page:
        return page
    rows = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["verdict"])
    rows = rows[rows["verdict"] != "not measured"]
    if rows.empty:
        return with_table(page, FINDINGS, "No published run measures any.\n")
    rows = rows.sort_values(["finding", "run"], kind="stable")
    counts = rows[["borne_out", "contradicted", "open"]].astype(str).agg(" / ".join, axis=1)
    keys = ["finding", "claim", "protocol"]
    table = rows.assign(counts=counts).pivot_table("counts", keys, "run", aggfunc="first", fill_value="", sort=False)
    return with_table(page, FINDINGS, markdown(table[sorted(table)].reset_index()))


def with_densities(page: str, references: Path) -> str:
    """Return the text of a page with the density models kept in `references` between their marks, if it has these.

    Bits per dimension are those of the validation split; `minutes` is what training took where it was done.
    """
    if f"<!-- {DENSITIES} -->" not in page:
        return page
    rows = []
    for name, entry in reference.read_manifest(references).items():
        if name.startswith(f"{DENSITIES}/"):
            weights, history = references / name / "density.npz", pd.read_csv(references / name / "training.csv")
            rows.append(
                {
                    "density model": name.removeprefix(f"{DENSITIES}/"),
                    "parameters": load_density(weights).parameters,
                    "bytes": weights.stat().st_size,
                    "epochs": len(history),
                    "minutes": round(history["seconds"].sum() / 60),
                    "bits per dimension": f"{entry['bits_per_dimension']:.2f}",
                }
            )
    return with_table(page, DENSITIES, markdown(pd.DataFrame(rows)))


def write_manifest(published: Path) -> None:
    """Write the hashes of all files below `published` but the page about them, in the form of sha256sum."""
    files = sorted(path for path in published.rglob("*") if path.is_file() and path.name not in (MANIFEST, "README.md"))
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
