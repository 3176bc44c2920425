"""Checks of files and folders that a run needs and cannot make."""

from __future__ import annotations

from pathlib import Path

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.points import unique
from qnn_robustness.data.mirrors import MIRROR_VARIABLE, mirrors_from_environment, places


def check_files(configuration: Configuration) -> None:
    """Check that the files and folders of one's own that are run are there.

    Raises UserError, with one line, for the first that is not. Paths are relative to the working directory.
    """
    for key, file in configuration.imports().items():
        model, _, precision = key.split("/")
        if not Path(file).exists():
            raise UserError(f"models.{model}.files.{precision}: {file}: no such file or folder")
    for name in _datasets(configuration):
        path = configuration.values["datasets"][name]["path"]
        if path is not None and not Path(path).is_dir():
            raise UserError(f"datasets.{name}.path: {path}: no such folder")


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
