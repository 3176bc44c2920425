"""requirements.in, requirements.lock and envs/ agree; the lock names no index, host or local path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from qnn_robustness.common import environment
from qnn_robustness.common.code_hash import LOCK, clear_cache, read_lock
from qnn_robustness.common.errors import UserError

PIN = re.compile(r"[a-z0-9-]+==[a-z0-9.+!]+( ; [^\\/@]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
COMMENT = re.compile(r"    #( via)?( +(-r requirements\.in|[a-z0-9-]+))?")


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(
        "numpy==2.4.6 \\\n    --hash=sha256:aa\n"
        "contourpy==1.3.3 ; python_full_version < '3.12' \\\n    --hash=sha256:bb\n"
        "contourpy==1.4.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:cc\n"
    )
    yield path
    clear_cache()


def test_the_environment_file_is_what_the_lock_makes() -> None:
    assert environment.ENVIRONMENT.read_text() == environment.environment_text()
    assert environment.disagreements() == []
    environment.main("check")


def test_the_environment_holds_every_pin_of_the_lock() -> None:
    *conda, pip = yaml.safe_load(environment.ENVIRONMENT.read_text())["dependencies"]
    assert conda == ["python=3.11", "pip"]
    listed = [str(Requirement(pin)) for pin in pip["pip"]]
    joined = LOCK.read_text().replace("\\\n", " ").splitlines()
    locked = [line.partition("--hash")[0] for line in joined if line and not line.lstrip().startswith("#")]
    assert sorted(listed) == sorted(str(Requirement(line)) for line in locked)


def test_markers_are_kept(lock: Path) -> None:
    text = environment.environment_text(lock)
    assert yaml.safe_load(text)["dependencies"][-1]["pip"] == [
        "numpy==2.4.6",
        "contourpy==1.3.3 ; python_full_version < '3.12'",
        "contourpy==1.4.0 ; python_full_version >= '3.12'",
    ]


@pytest.mark.parametrize(
    ("requirement", "problem"),
    [
        ("numpy==2.4.6", None),
        ("NumPy  # any", None),
        ("contourpy", None),
        ("numpy==2.4.5", "has 2.4.6"),
        ("contourpy==1.3.3", "has 1.3.3, 1.4.0"),
        ("scipy", "has nothing"),
        ("numpy>=2", "neither"),
        ("numpy @ https://example.org/numpy.whl", "neither"),
    ],
)
def test_requirements_are_compared_with_the_lock(
    tmp_path: Path, lock: Path, requirement: str, problem: str | None
) -> None:
    requirements = tmp_path / "requirements.in"
    requirements.write_text(f"# what we use\n{requirement}\n")
    found = environment.disagreements(requirements, lock)
    assert [problem in line for line in found] == ([True] if problem else [])


def test_a_stale_environment_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ENVIRONMENT", tmp_path / "workflow.yaml")
    with pytest.raises(UserError, match="make lock"):
        environment.main("check")
    environment.main("write")
    environment.main("check")
    stale = environment.ENVIRONMENT.read_text().replace("numpy==", "numpy==1")
    environment.ENVIRONMENT.write_text(stale)
    with pytest.raises(UserError, match="make lock"):
        environment.main("check")
    with pytest.raises(UserError, match="known: check, write"):
        environment.main("rewrite")


def test_every_line_of_the_lock_is_a_pin_a_hash_or_a_plain_comment() -> None:
    lines = LOCK.read_text().splitlines()
    odd = [line for line in lines if not any(kind.fullmatch(line) for kind in (PIN, HASH, COMMENT))]
    assert odd == []


def test_every_pin_of_the_lock_has_hashes() -> None:
    lines = LOCK.read_text().splitlines()
    pins = [index for index, line in enumerate(lines) if PIN.fullmatch(line)]
    assert all(HASH.fullmatch(lines[index + 1]) for index in pins)
    assert len(pins) == sum(map(len, read_lock(LOCK).values()))
