"""Small archives and data set entries for the tests of the data stage."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def entry(**changes) -> dict:
    """A complete data set entry as the configuration gives it, with changes."""
    return {
        "format": "image_folder",
        "source": None,
        "archive": None,
        "urls": [],
        "checksum": None,
        "archives": None,
        "licence": "none",
        "image_shape": [4, 5, 3],
        "classes": None,
        "split_folders": None,
        "extensions": {},
        "validation_samples": 0,
        "calibration_samples": 0,
        "test_samples": None,
        "test_fraction": 0.25,
        "seed": 0,
    } | changes


def image_bytes(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    """Encode uint8 pixels [H, W, 3] or [H, W]."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def pixels_of(number: int, shape: tuple[int, ...] = (4, 5, 3)) -> np.ndarray:
    """Random pixels that depend on `number` alone."""
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def tar_member(name: str, content: bytes = b"", **fields) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def write_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    """Write files (and, for names that end in '/', folders) as zip or tar.gz, by the suffix of the path."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return path
    members = [
        tar_member(name.rstrip("/"), content, type=tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE)
        for name, content in files.items()
    ]
    return write_tar(path, members)
