"""What is kept in the repository is what a run made: reference networks, tables, and what the pages show of them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import sha256_file
from qnn_robustness.evaluation import tables
from qnn_robustness.evaluation.publish import (
    PAGES,
    gather_findings,
    publish,
    shown_tables,
    with_densities,
    with_findings,
    with_tables,
)
from qnn_robustness.evaluation.statistics import wilson
from qnn_robustness.models import reference

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "docs" / "results"
REFERENCES = ROOT / "reference_models"
DIAGNOSED = ("boundary_distance_tests", "gradient_shares", "gradient_alignment", "quantization_shift_shares")


@pytest.mark.parametrize("run", ["..", ".", "../..", "a/b", "", "Cifar"])
def test_a_name_that_leaves_its_folder_removes_nothing(run: str, tmp_path: Path) -> None:
    kept = tmp_path / "docs" / "results" / "kept.txt"
    for path in (kept, tmp_path / "results" / "tables" / "headline.csv"):
        path.parent.mkdir(parents=True)
        path.write_text("a\n1\n")
    with pytest.raises(UserError, match="no name of a run"):
        publish(tmp_path / "results", tmp_path, run)
    assert kept.is_file()


def test_published_files_are_those_of_the_manifest():
    lines = (PUBLISHED / "MANIFEST.sha256").read_text().splitlines()
    listed = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    found = {
        path.relative_to(PUBLISHED).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in PUBLISHED.rglob("*")
        if path.is_file() and path.name not in ("MANIFEST.sha256", "README.md")
    }
    assert listed == found


def test_reference_networks_are_those_of_the_manifest():
    manifest = reference.read_manifest(REFERENCES)
    assert manifest
    for name, entry in manifest.items():
        for file, digest in entry["files"].items():
            path = REFERENCES / name / file
            assert sha256_file(path) == digest, path
            assert path.stat().st_size < 1_000_000


def test_the_tables_of_the_pages_are_the_published_ones():
    pages = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
    for folder in sorted(path for path in PUBLISHED.iterdir() if path.is_dir()):
        assert any(shown_tables(text, folder.name) for text in pages.values()), f"nothing of {folder.name} is shown"
        for page, text in pages.items():
            assert with_tables(text, folder, folder.name) == text, page
    for page, text in pages.items():
        assert with_findings(text, PUBLISHED) == text, page
        assert with_densities(text, REFERENCES) == text, page


def test_the_findings_of_all_runs_are_those_of_each(tmp_path: Path):
    for folder in (path for path in PUBLISHED.iterdir() if path.is_dir()):
        (tmp_path / folder.name).mkdir()
        (tmp_path / folder.name / "findings.csv").write_bytes((folder / "findings.csv").read_bytes())
        inputs = {name: folder / f"{name}.csv" for name in ("robust_accuracy", "paired_tests", *DIAGNOSED)}
        robust = pd.read_csv(inputs["robust_accuracy"])
        undefended = robust["model"] + "/" + robust["training"]
        undefended = undefended[robust["training"].isin(["standard", "pretrained"])]
        table = tables.findings({name: path for name, path in inputs.items() if path.exists()}, list(undefended))
        pd.testing.assert_frame_equal(pd.read_csv(folder / "findings.csv"), table)
    gather_findings(tmp_path)
    assert (tmp_path / "findings.csv").read_bytes() == (PUBLISHED / "findings.csv").read_bytes()


def test_findings_are_shown_by_run(run):
    results, root = run
    header = "protocol,finding,claim,measured,borne_out,contradicted,open,verdict\n"
    (root / "docs" / "results" / "earlier").mkdir()
    (root / "docs" / "results" / "earlier" / "findings.csv").write_text(
        f"{header}sound,F2,c,m,1,0,0,borne out\npaper,F2,c,m,0,9,0,contradicted\nsound,F1,a,m,0,0,0,not measured\n"
    )
    (results / "tables" / "findings.csv").write_text(f"{header}sound,F2,c,m,2,3,4,mixed\nsound,F1,a,m,0,0,5,open\n")
    with (root / PAGES[0]).open("a") as readme:
        readme.write("<!-- findings -->\n<!-- /findings -->\n")
    publish(results, root, "x")
    assert (
        (root / PAGES[0])
        .read_text()
        .endswith(
            "<!-- findings -->\n"
            "| finding | claim | protocol | earlier | x |\n"
            "| --- | --- | --- | --- | --- |\n"
            "| F1 | a | sound |  | 0 / 0 / 5 |\n"
            "| F2 | c | sound | 1 / 0 / 0 | 2 / 3 / 4 |\n"
            "| F2 | c | paper | 0 / 9 / 0 |  |\n"
            "<!-- /findings -->\n"
        )
    )


def test_the_density_models_that_are_kept_are_shown(run):
    results, root = run
    kept = "densities/cifar10_pixel_cnn"
    (root / "reference_models" / "densities").mkdir(parents=True)
    shutil.copytree(REFERENCES / kept, root / "reference_models" / kept)
    manifest = {kept: {"bits_per_dimension": 3.1}, "cifar10_resnet8/standard": {"accuracies": {}}}
    (root / "reference_models" / "manifest.json").write_text(json.dumps(manifest))
    with (root / PAGES[1]).open("a") as page:
        page.write("<!-- densities -->\nold\n<!-- /densities -->\n")
    publish(results, root, "x")
    weights = REFERENCES / kept / "density.npz"
    with np.load(weights) as arrays:
        parameters = sum(arrays[name].size for name in arrays.files if arrays[name].ndim)
    header, _, row = (root / PAGES[1]).read_text().split("<!-- densities -->\n")[1].splitlines()[:3]
    shown = dict(zip(header.split(" | "), row.split(" | "), strict=True))
    assert shown.pop("minutes").isdigit()
    assert shown == {
        "| density model": "| cifar10_pixel_cnn",
        "parameters": str(parameters),
        "bytes": str(weights.stat().st_size),
        "epochs": "30",
        "bits per dimension |": "3.10 |",
    }


def test_a_damaged_density_model_is_refused_before_anything_is_changed(run):
    results, root = run
    publish(results, root, "x")
    (root / "reference_models").mkdir()
    (root / "reference_models" / "manifest.json").write_text("{")
    with (root / PAGES[1]).open("a") as page:
        page.write("<!-- densities -->\nold\n<!-- /densities -->\n")
    (results / "tables" / "headline.csv").write_text("a\nnew\n")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and results not in path.parents}
    with pytest.raises(UserError, match=r"manifest\.json: not valid JSON"):
        publish(results, root, "x")
    assert {path: path.read_bytes() for path in before} == before


def test_findings_that_no_run_measures_are_none(run):
    results, root = run
    with (root / PAGES[0]).open("a") as readme:
        readme.write("<!-- findings -->\nold\n<!-- /findings -->\n")
    (root / "docs" / "results" / "findings.csv").write_text("of a run that is gone\n")
    publish(results, root, "x")
    assert not (root / "docs" / "results" / "findings.csv").exists()
    assert (root / PAGES[0]).read_text().endswith("-->\nNo published run measures any.\n<!-- /findings -->\n")
    header = "protocol,finding,claim,measured,borne_out,contradicted,open,verdict\n"
    (results / "tables" / "findings.csv").write_text(f"{header}sound,F1,a,m,0,0,0,not measured\n")
    publish(results, root, "x")
    assert (root / PAGES[0]).read_text().endswith("-->\nNo published run measures any.\n<!-- /findings -->\n")


@pytest.mark.parametrize("page", PAGES)
def test_what_the_pages_link_to_exists(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(((?!https?:)[^)]*)\)", text)
    assert links
    for link in links:
        file, _, section = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), link
        if section:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert section in [re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles], link


@pytest.fixture
def run(tmp_path) -> tuple[Path, Path]:
    results, root = tmp_path / "results", tmp_path / "root"
    (results / "tables").mkdir(parents=True)
    (results / "figures").mkdir()
    (results / "tables" / "headline.csv").write_text("model,clean\nm,1.0\n")
    (results / "figures" / "f.svg").write_text("<svg/>")
    (root / "docs" / "results").mkdir(parents=True)
    for page in PAGES:
        (root / page).write_text(f"{page}\n<!-- headline:x -->\nold\n<!-- /headline:x -->\nb\n")
    return results, root


def test_publishing_copies_hashes_and_fills_the_pages(run):
    results, root = run
    (root / "docs" / "results" / "x").mkdir()
    (root / "docs" / "results" / "x" / "stale.csv").write_text("old")
    (results / "tables" / ".partial-99-attacks.csv").write_text("half")
    publish(results, root, "x")
    published = root / "docs" / "results"
    assert sorted(path.name for path in (published / "x").iterdir()) == ["f.svg", "headline.csv"]
    check = subprocess.run(["sha256sum", "-c", "MANIFEST.sha256"], cwd=published, capture_output=True, check=False)
    assert check.returncode == 0, check.stderr
    assert "README.md" not in (published / "MANIFEST.sha256").read_text(), "a page is written by hand, too"
    for page in PAGES:
        assert (root / page).read_text() == (
            f"{page}\n<!-- headline:x -->\n| model | clean |\n| --- | --- |\n| m | 1.0 |\n<!-- /headline:x -->\nb\n"
        )


def test_a_page_shows_every_table_that_it_has_marks_for(run):
    results, root = run
    (results / "tables" / "attacks.csv").write_text("attack,int8\npgd,2.0\n")
    with (root / "README.md").open("a") as readme:
        readme.write("<!-- attacks:x -->\n<!-- /attacks:x -->\n")
    publish(results, root, "x")
    assert "<!-- attacks:x -->\n| attack | int8 |\n| --- | --- |\n| pgd | 2.0 |\n" in (root / "README.md").read_text()


def test_comparisons_of_integer_models_are_gathered_over_the_runs(run):
    results, root = run
    header = "network,bytes_compared,differing_bytes\n"
    (root / "docs" / "results" / "earlier").mkdir(parents=True)
    (root / "docs" / "results" / "earlier" / "integer_model_exactness.csv").write_text(f"{header}a,9,0\nb,5,1\n")
    (results / "tables" / "integer_model_exactness.csv").write_text(f"{header}c,7,0\nb,6,2\n")
    publish(results, root, "x")
    gathered = (root / "docs" / "results" / "integer_model_exactness.csv").read_text()
    assert gathered == f"{header}a,9,0\nb,6,2\nc,7,0\n", "one row for a network that two runs have"


def test_publishing_without_tables_or_marks_or_with_large_files_is_refused(run):
    results, root = run
    kept = root / "docs" / "results" / "y" / "kept.csv"
    kept.parent.mkdir()
    kept.write_text("a\n1\n")
    with pytest.raises(UserError, match="lacks the marks"):
        publish(results, root, "y")
    with (root / PAGES[0]).open("a") as readme:
        readme.write("<!-- attacks:y -->\n<!-- /attacks:y -->\n")
    with pytest.raises(UserError, match="the run has no table attacks"):
        publish(results, root, "y")
    (root / PAGES[0]).write_text("<!-- headline:y -->\n")
    with pytest.raises(UserError, match="lacks the closing mark <!-- /headline:y -->"):
        publish(results, root, "y")
    assert kept.is_file(), "nothing is changed"
    (results / "figures" / "f.svg").write_bytes(b"0" * 1_100_000)
    with pytest.raises(UserError, match="1100000 bytes"):
        publish(results, root, "x")
    with pytest.raises(UserError, match="run snakemake first"):
        publish(root, root, "x")


@pytest.fixture
def kept(tmp_path) -> Path:
    folder = tmp_path / "reference_models"
    (folder / "m" / "t").mkdir(parents=True)
    (folder / "m" / "t" / "float32.keras").write_bytes(np.arange(9).tobytes())
    entry = {
        "recipe_sha256": "r",
        "data_sha256": "d",
        "quantized": {},
        "files": {"float32.keras": sha256_file(folder / "m" / "t" / "float32.keras")},
    }
    (folder / "manifest.json").write_text(json.dumps({"m/t": entry}))
    return folder


def test_a_reference_network_matches_its_recipe_only(kept, tmp_path):
    assert reference.matching(kept.parent, "m/t", "other") is None
    assert reference.matching(kept.parent, "m/other", "r") is None
    assert reference.matching(tmp_path / "nowhere", "m/t", "r") is None
    entry = reference.matching(kept.parent, "m/t", "r")
    reference.copy(tmp_path, entry, {"float32.keras": str(tmp_path / "out.keras")})
    assert (tmp_path / "out.keras").read_bytes() == np.arange(9).tobytes()


def test_a_changed_or_missing_reference_network_is_refused(kept, tmp_path):
    entry = reference.matching(kept.parent, "m/t", "r")
    (kept / "m" / "t" / "float32.keras").write_bytes(b"changed")
    with pytest.raises(UserError, match="not the file recorded"):
        reference.copy(tmp_path, entry, {"float32.keras": str(tmp_path / "out.keras")})
    assert not (tmp_path / "out.keras").exists()
    (kept / "m" / "t" / "float32.keras").unlink()
    with pytest.raises(UserError, match="missing; restore it or set reference_models: ignore"):
        reference.copy(tmp_path, entry, {"float32.keras": str(tmp_path / "out.keras")})
    (kept / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        reference.matching(kept.parent, "m/t", "r")


@pytest.mark.parametrize("table", ["attacks", "attacks_torch"])
def test_no_attack_of_the_benchmarks_is_weaker_than_its_peer(table: str) -> None:
    """Equal samples, budgets, steps or queries: success within its interval, median distortion at most 1.05 times."""
    rows = pd.read_csv(ROOT / "benchmarks" / f"{table}.csv").dropna(subset="peer_success")
    assert len(rows) > 10
    for _, row in rows.iterrows():
        _, highest = wilson(round(row["success"] * row["samples"]), row["samples"])
        assert highest >= row["peer_success"], row["attack"]
        if not np.isnan(row["peer_median_distortion"]):
            assert row["median_distortion"] <= 1.05 * row["peer_median_distortion"], row["attack"]
