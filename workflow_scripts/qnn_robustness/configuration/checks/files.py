"""Checks of files and folders that a run needs and cannot make."""

from __future__ import annotations

import re
from pathlib import Path

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.points import unique
from qnn_robustness.data.mirrors import MIRROR_VARIABLE, mirrors_from_environment, places

WILDCARD = re.compile(r"\{.*\}", re.DOTALL)


def check_files(configuration: Configuration) -> None:
    """Check that the files and folders of one's own that are run are there.

    Raises UserError, with one line, for the first that is not. Paths are relative to the working directory.
    """
    for key, file in configuration.imports().items():
        model, _, precision = key.split("/")
        check_braces(f"models.{model}.files.{precision}", file)
        if not Path(file).exists():
            beneath = "" if Path(file).is_absolute() else f" in {Path.cwd()}, where snakemake runs"
            raise UserError(f"models.{model}.files.{precision}: {file}: no such file or folder{beneath}")
    for name in _datasets(configuration):
        path = configuration.values["datasets"][name]["path"]
        check_braces(f"datasets.{name}.path", path or "")
        if path is not None and not Path(path).is_dir():
            wrong = "is a file; expected a folder" if Path(path).exists() else "no such folder"
            raise UserError(f"datasets.{name}.path: {path}: {wrong}")


def check_braces(place: str, path: str) -> None:
    """Raise UserError for a path in which Snakemake would look for a wildcard, which it has no way to quote."""
    if WILDCARD.search(path):
        raise UserError(f"{place}: {path}: has braces, which Snakemake takes for a wildcard; rename it")


def missing_archives(configuration: Configuration) -> list[str]:
    """Return, one line each, which archives of the data sets that are run have no address and are nowhere to be found.

    No error: what is asked for may do without them.
    """
    mirrors = [*mirrors_from_environment(), *configuration.values["mirrors"]]
    lines = []
    for name in _datasets(configuration):
        for file in configuration.files(name).values():
            known = [f"results/downloads/{name}/{file['archive']}", *places(file["archive"], file["urls"], mirrors)]
            if not any("://" in place or Path(place).is_file() for place in known):
                lines.append(
                    f"{name}: {file['archive']} has no address and is in no mirror, so that the jobs of this data set "
                    f"will fail; put it into a folder and set {MIRROR_VARIABLE} to it"
                )
    return lines


def _datasets(configuration: Configuration) -> list[str]:
    return unique(configuration.dataset_of(network.model) for network in configuration.networks())
