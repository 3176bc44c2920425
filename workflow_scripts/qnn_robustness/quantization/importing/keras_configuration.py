"""The configuration of the layers in a Keras file, read without Keras."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from qnn_robustness.common.errors import UserError

MAX_BYTES = 2 * 2**30  # unpacked


def read_configuration(path: Path) -> Any:
    """Return the configuration of the network in a .keras or .h5 file.

    Raises UserError for a file of another type or without one, and whatever h5py, zipfile and json raise for a
    damaged one.
    """
    with path.open("rb") as stream:
        start = stream.read(8)
    if start == b"\x89HDF\r\n\x1a\n":
        _check_name(path, path.suffix != ".keras", ".h5")
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise UserError(f"{path}: holds weights only; save the whole model")
            return json.loads(file.attrs["model_config"])
    if start[:4] != b"PK\x03\x04":
        raise UserError(f"{path}: is no .tflite, .keras or .h5 file and no SavedModel")
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise UserError(f"{path}: would take more than {MAX_BYTES:,} bytes unpacked")
        if "config.json" not in archive.namelist():
            raise UserError(f"{path}: is an archive without config.json; give a .tflite, .keras or .h5 file")
        _check_name(path, path.suffix == ".keras", ".keras")
        return json.loads(archive.read("config.json"))


def _check_name(path: Path, fits: bool, kind: str) -> None:
    """Check that a file is named as what it holds: Keras goes by the name, and would load another part than is read."""
    if not fits:
        raise UserError(f"{path}: its content is that of a {kind} file, its name is not; rename it")


def layers(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every record with a class name in a configuration, at any depth."""
    if isinstance(part, dict):
        if isinstance(part.get("class_name"), str):
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for entry in part:
            yield from layers(entry)
