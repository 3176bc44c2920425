"""The conda environment of the rules, generated from the lock; run as a module with `write` or `check`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from qnn_robustness.common.code_hash import LOCK, normalised, read_lock
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import write_text

ENVIRONMENT = LOCK.parent / "envs" / "workflow.yaml"
REQUIREMENTS = LOCK.parent / "requirements.in"
HEADER = """\
# Generated from requirements.lock by `make lock`; edit requirements.in instead.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def environment_text(lock: Path = LOCK) -> str:
    """Return the conda environment file: Python 3.11 and every pin of the lock with its marker."""
    pins = [pin for pins in read_lock(lock).values() for pin in pins]
    return HEADER + "".join(f'      - "{pin}"\n' for pin in pins)


def disagreements(requirements: Path = REQUIREMENTS, lock: Path = LOCK) -> list[str]:
    """Return a line for every requirement that the lock lacks or pins to another version."""
    pins, found = read_lock(lock), []
    for line in requirements.read_text(encoding="utf-8").splitlines():
        requirement = line.partition("#")[0].strip()
        if not requirement:
            continue
        match = re.fullmatch(r"([\w.-]+)(?:==([\w.+!-]+))?", requirement)
        if match is None:
            found.append(f"{requirements.name}: '{requirement}' is neither `name` nor `name==version`")
            continue
        name, version = normalised(match[1]), match[2]
        versions = {pin.partition(" ;")[0].partition("==")[2] for pin in pins.get(name, ())}
        if not versions or (version and versions != {version}):
            locked = ", ".join(sorted(versions)) or "nothing"
            found.append(f"{requirements.name} asks for '{requirement}', {lock.name} has {locked}")
    return found


def main(command: str) -> None:
    """Write the environment file (`write`), or compare it and requirements.in with the lock (`check`).

    Raises UserError when they disagree, or for another command.
    """
    if command == "write":
        write_text(ENVIRONMENT, environment_text())
    elif command == "check":
        problems = disagreements()
        if not ENVIRONMENT.is_file() or ENVIRONMENT.read_text(encoding="utf-8") != environment_text():
            problems.append(f"{ENVIRONMENT} is not what {LOCK.name} makes")
        if problems:
            raise UserError(f"{'; '.join(problems)}; run `make lock`")
    else:
        raise UserError(f"unknown command '{command}'; known: check, write")


if __name__ == "__main__":
    try:
        main(" ".join(sys.argv[1:]))
    except UserError as error:
        sys.exit(f"error: {error}")
