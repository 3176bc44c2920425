"""Atomic writes: a file exists completely or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from qnn_robustness.common.errors import UserError

_CLUTTER = ("thumbs.db", "desktop.ini")
PARTIAL = ".partial-"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix); rename it to `path` when the block succeeds.

    The temporary name starts with `.partial-`, so no rule and no reader takes it for a result; it is
    removed when the block fails, and leftovers of killed writers of the same path are removed first.

    Raises UserError when the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f"{PARTIAL}*-{path.name}"):
        if leftover.name.removeprefix(PARTIAL).removesuffix(f"-{path.name}").isdigit():  # else of a longer name
            leftover.unlink(missing_ok=True)
    partial = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise UserError(
                f"{path}: no space left on the disk; free some space and run the same command again"
            ) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON atomically, indented and with a final newline."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_arrays(path: str | Path, **arrays: np.ndarray) -> None:
    """Write a compressed .npz atomically. Equal arrays give equal bytes: members carry no time stamp."""
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def read_arrays(path: str | Path, wanted: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz, or those of them that are `wanted`, without unpickling anything.

    Raises UserError when the file is missing, truncated or no .npz.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if wanted is None or name in wanted}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise UserError(f"{path}: not a readable .npz file ({error}); delete it and run again") from error


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_clutter(name: str) -> bool:
    """Return whether a file or folder is what file managers leave in folders and archives; `name` is relative to it."""
    parts = name.split("/")
    return any(part.startswith(".") for part in parts) or parts[0] == "__MACOSX" or parts[-1].lower() in _CLUTTER


def sha256_folder(path: str | Path) -> str:
    """Return the SHA-256 of the files below a folder, clutter aside: their names and bytes."""
    digest = hashlib.sha256()
    for file in sorted(file for file in Path(path).rglob("*") if file.is_file()):
        relative = file.relative_to(path).as_posix()
        if is_clutter(relative):
            continue
        name = os.fsencode(relative)  # need not be UTF-8
        digest.update(name + f"\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()


def sha256_path(path: str | Path) -> str:
    """Return the SHA-256 of a file or of a folder."""
    return sha256_folder(path) if Path(path).is_dir() else sha256_file(path)


def sha256_arrays(*arrays: np.ndarray) -> str:
    """Return the SHA-256 of arrays' types, shapes and values: independent of how a file compresses them."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def sha256_json(content: Any) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
