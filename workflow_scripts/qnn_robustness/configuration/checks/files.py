"""Checks of the user's own files and folders."""

from __future__ import annotations

from pathlib import Path

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.points import unique


def check_files(configuration: Configuration) -> None:
    """Check that the files and folders of one's own that are run are there.

    Raises UserError, with one line, for the first that is not. Paths are relative to the working directory.
    """
    for key, file in configuration.imports().items():
        model, _, precision = key.split("/")
        if not Path(file).exists():
            raise UserError(f"models.{model}.files.{precision}: {file}: no such file or folder")
    for name in unique(configuration.dataset_of(network.model) for network in configuration.networks()):
        path = configuration.values["datasets"][name]["path"]
        if path is not None and not Path(path).is_dir():
            raise UserError(f"datasets.{name}.path: {path}: no such folder")
