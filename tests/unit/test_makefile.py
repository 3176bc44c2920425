"""How `make` finds an interpreter and when it makes .venv anew; nothing is installed here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qnn_robustness.common.code_hash import LOCK

NAMES = ("python3", "python3.13", "python3.12", "python3.11")
SUITABLE = f'exec "{sys.executable}" "$@"'
UNSUITABLE = "exit 127"
MAKE_SETS = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON"}  # when these tests are run by make itself

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


class Clone:
    """A folder with the Makefile, a lock, and stand-ins for every interpreter make looks for."""

    def __init__(self, root: Path):
        self.root = root
        shutil.copy(LOCK.parent / "Makefile", root)
        (root / "requirements.lock").write_text("numpy==2.4.6\n")
        for name in NAMES:
            self.interpreter(name, UNSUITABLE)

    def interpreter(self, name: str, command: str) -> Path:
        path = self.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)
        return path

    def plan(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.run("-n", "environment", *arguments)

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        path = f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environment = {key: value for key, value in os.environ.items() if key not in MAKE_SETS}
        return subprocess.run(
            ["make", *arguments],
            cwd=self.root,
            env={**environment, "PATH": path},
            capture_output=True,
            text=True,
        )

    def installed(self) -> None:
        """Stand in for a complete installation from the present lock."""
        (self.root / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(self.interpreter("venv-python", SUITABLE), self.root / ".venv" / "bin" / "python")
        lock = (self.root / "requirements.lock").read_bytes()
        done = subprocess.run(["cksum"], input=lock, capture_output=True, check=True)
        (self.root / ".venv" / "complete").write_bytes(done.stdout)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_no_suitable_interpreter_ends_in_one_line(clone: Clone) -> None:
    done = clone.plan()
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "Python 3.11, 3.12 or 3.13" in line


def test_interpreters_that_do_not_run_are_passed_over(clone: Clone) -> None:
    chosen = clone.interpreter("python3.12", SUITABLE)
    done = clone.plan()
    assert done.returncode == 0
    assert f'"{chosen}" -m venv .venv' in done.stdout


def test_the_variable_names_the_only_candidate(clone: Clone) -> None:
    clone.interpreter("python3", SUITABLE)
    chosen = clone.interpreter("mine", SUITABLE)
    assert f'"{chosen}" -m venv .venv' in clone.plan(f"PYTHON={chosen}").stdout
    assert clone.plan("PYTHON=python3.11").returncode != 0


def test_the_environment_is_made_anew_only_when_it_is_not_that_of_the_lock(clone: Clone) -> None:
    clone.interpreter("python3", SUITABLE)
    clone.installed()
    assert "-m venv" not in clone.plan().stdout
    os.utime(clone.root / "requirements.lock")
    assert "-m venv" not in clone.plan().stdout
    (clone.root / "requirements.lock").write_text("numpy==2.4.7\n")
    assert "-m venv" in clone.plan().stdout
    clone.installed()
    assert "-m venv" not in clone.plan().stdout
    (clone.root / ".venv" / "complete").unlink()  # as an interrupted installation leaves it
    assert "-m venv" in clone.plan().stdout


def test_paths_and_options_of_an_audit_reach_it_as_they_are(clone: Clone) -> None:
    clone.interpreter("python3", SUITABLE)
    clone.installed()
    (clone.root / "workflow_scripts").mkdir()
    (clone.root / "workflow_scripts/audit_model.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    model, data, labels = '~/It\'s "mine" `id`;.tflite', "a  b\\c *", "don't,\u00fc"
    done = clone.run("audit", f"MODEL={model}", f"DATA={data}", f"LABELS={labels}", "RANGE=-1..1")
    assert json.loads(done.stdout) == [model, data, "--range=-1..1", f"--labels={labels}"], done.stderr
