"""What is wrong ends in one clear line, before any job starts where that is possible."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plan import Workflow, of_rules, with_dependents

from qnn_robustness.common.files import sha256_file

ARCHIVE = "shapes.tar.gz"
DOWNLOADED = f"results/downloads/shapes/{ARCHIVE}"
SUMMARY = "results/data/shapes/summary.json"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"sed": 1}, "unknown key 'sed'; did you mean 'seed'?"),
        (
            {"attacks": {"pgd_linf": {"budgets": [0]}}},
            "attacks.pgd_linf.budgets.0: 0 is no distance; expected more than 0",
        ),
        (
            {"attacks": {"pgd_linf": {"parameters": {"step": 3}}}},
            "attacks.pgd_linf.parameters: unknown key 'step'; did you mean 'steps'?",
        ),
        (
            {"attacks": {"pgd_linf": {"method": "pdg"}}},
            "attacks.pgd_linf.method: unknown method 'pdg'; did you mean 'pgd'?",
        ),
        (
            {"experiments": {"white_box": {"attacks": ["pgd_lnf"]}}},
            "experiments.white_box.attacks: unknown attack 'pgd_lnf'; did you mean 'pgd_linf'?",
        ),
        (
            {"attacks": {"pgd_linf": {"samples": "many"}}},
            "attacks.pgd_linf.samples: 'many' is of the wrong type; expected integer",
        ),
    ],
    ids=["key", "budget", "parameter", "method", "attack", "type"],
)
def test_a_wrong_configuration_ends_in_one_line_before_any_job(workflow: Workflow, change: dict, line: str) -> None:
    before = workflow.products()
    result = workflow.quick("--cores", "1", change=change)
    assert result.status != 0
    assert [text for text in result.output.splitlines() if line in text] == [result.output.splitlines()[-1]]
    assert result.output.splitlines()[-1].startswith("error: configuration: ")
    assert "Traceback" not in result.output
    assert "rule " not in result.output
    assert workflow.products() == before
    assert workflow.plan() == frozenset()


# --- archives -------------------------------------------------------------------------------------------


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A folder with an archive: two classes of 4 x 4 images, each 20 for training and 5 for the test."""
    random = np.random.default_rng(0)
    folder = tmp_path / "mirror"
    folder.mkdir()
    with tarfile.open(folder / ARCHIVE, "w:gz") as archive:
        for split, count in (("train", 20), ("test", 5)):
            for name in ("dark", "light"):
                for index in range(count):
                    low = 0 if name == "dark" else 128
                    pixels = random.integers(low, low + 128, (4, 4, 3), dtype=np.uint8)
                    stream = io.BytesIO()
                    Image.fromarray(pixels).save(stream, "png")
                    member = tarfile.TarInfo(f"{split}/{name}/{index:02}.png")
                    member.size = stream.tell()
                    archive.addfile(member, io.BytesIO(stream.getvalue()))
    return folder


def shapes(good: Path) -> dict:
    entry = {
        "format": "image_folder",
        "archive": ARCHIVE,
        "checksum": f"sha256:{sha256_file(good / ARCHIVE)}",
        "image_shape": [4, 4, 3],
        "split_folders": {"train": "train", "test": "test"},
        "validation_samples": 4,
        "calibration_samples": 4,
    }
    return {"datasets": {"shapes": entry}}


def missing(content: bytes) -> None:
    return None


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def one_bit_off(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("spoil", [missing, truncated, one_bit_off])
def test_a_bad_archive_ends_in_one_line(workflow: Workflow, good: Path, tmp_path: Path, spoil) -> None:
    before, bad = workflow.products(), tmp_path / "bad"
    bad.mkdir()
    if (content := spoil((good / ARCHIVE).read_bytes())) is not None:
        (bad / ARCHIVE).write_bytes(content)

    result = workflow.run(SUMMARY, change=shapes(good), QNN_DATA_MIRROR=str(bad))
    assert result.status != 0
    errors = {line for line in result.output.splitlines() if line.startswith("error: ")}
    reason = "no such file" if content is None else "wrong checksum"
    assert len(errors) == 1
    line = errors.pop()
    assert f"{ARCHIVE}: cannot be had from anywhere: {bad / ARCHIVE} ({reason}" in line
    assert ("correct the data set's checksum" in line) == (content is not None)
    assert "Traceback" not in result.output
    assert workflow.products() == before


def test_a_mirror_with_a_good_archive_makes_up_for_a_bad_one(workflow: Workflow, good: Path, tmp_path: Path) -> None:
    change, bad = shapes(good), tmp_path / "bad"
    bad.mkdir()
    (bad / ARCHIVE).write_bytes(one_bit_off((good / ARCHIVE).read_bytes()))

    result = workflow.run(SUMMARY, change=change, QNN_DATA_MIRROR=f"{bad}:{good}")
    assert result.status == 0, result.output
    assert workflow.path(DOWNLOADED).read_bytes() == (good / ARCHIVE).read_bytes()

    later = time.time() + 3600
    os.utime(workflow.path(DOWNLOADED), (later, later))
    assert workflow.plan(SUMMARY, change=change) == frozenset(), "a touch of the archive"
    assert workflow.plan(SUMMARY, change={**change, "mirrors": ["/elsewhere"]}) == frozenset()
    change["datasets"]["shapes"]["checksum"] = f"sha256:{'0' * 64}"
    made = workflow.graph(SUMMARY, change=change)
    assert workflow.plan(SUMMARY, change=change) == with_dependents(made, of_rules(made, "download_dataset"))


def test_an_archive_that_is_none_ends_in_one_line(workflow: Workflow, good: Path) -> None:
    (good / ARCHIVE).write_bytes(b"no archive")
    before = workflow.products()
    result = workflow.run(SUMMARY, change=shapes(good), QNN_DATA_MIRROR=str(good))
    assert result.status != 0
    errors = {line for line in result.output.splitlines() if line.startswith("error: ")}
    assert len(errors) == 1
    assert DOWNLOADED in errors.pop()
    assert "Traceback" not in result.output
    assert set(workflow.products()) - set(before) == {DOWNLOADED}
