"""Checks of the section `datasets`."""

from __future__ import annotations

from typing import Any

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks.names import check_known
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.data.formats import EMBEDDED, IN_FOLDERS, SEVERAL
from qnn_robustness.data.registry import files, resolve


def check_datasets(configuration: Configuration) -> None:
    for name, entry in configuration.values["datasets"].items():
        where = f"datasets.{name}"
        check_known(entry["format"], registry.names("data.formats"), f"{where}.format", "format")
        present = list(_files(entry, where).values())
        _check_source(entry, present, where)
        _check_names(present, where)
        for file in present:
            _check_file(file, where)
        if entry["split_folders"] and entry["format"] != "image_folder":
            raise UserError(
                f"{where}.split_folders: is for format: image_folder; give each split a data set of its own"
            )


def _files(entry: dict[str, Any], where: str) -> dict[str, dict[str, Any]]:
    try:
        return files(resolve(entry))
    except UserError as error:
        raise UserError(f"{where}.{error}") from None


def _check_source(entry: dict[str, Any], present: list[dict[str, Any]], where: str) -> None:
    """Check that a data set is in archives, in a folder or embedded."""
    if entry["path"] is not None:
        if entry["format"] not in IN_FOLDERS or present:
            raise UserError(f"{where}.path: is for format: {' or '.join(IN_FOLDERS)} without source and archive")
    elif entry["format"] not in EMBEDDED and not present:
        raise UserError(
            f"{where}: no archive; name one of the registry (source), your own (archive, checksum) or a folder (path)"
        )
    if entry.get("archives") and entry["format"] not in SEVERAL:
        raise UserError(f"{where}.archives: the format '{entry['format']}' reads one file; write archive, checksum")


def _check_names(present: list[dict[str, Any]], where: str) -> None:
    """Check that no two files have one name: they are kept in one folder."""
    for position, file in enumerate(present):
        if any(file["archive"] == other["archive"] and file != other for other in present[:position]):
            raise UserError(f"{where}.archives: two files are named '{file['archive']}'; give each its own name")


def _check_file(file: dict[str, Any], where: str) -> None:
    if not file["archive"]:
        raise UserError(f"{where}.archives: a file has no name; add archive: ...")
    if not file["checksum"]:
        raise UserError(f"{where}: archive '{file['archive']}' has no checksum; add checksum: sha256:...")
    if "/" in file["archive"]:
        raise UserError(
            f"{where}.archive: '{file['archive']}' is a path; give the file name and list its folder in mirrors"
        )
