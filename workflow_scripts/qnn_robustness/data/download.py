"""Fetch an archive from mirrors or its official addresses, verified and placed atomically."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pooch
import requests

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import PARTIAL, atomic_path, sha256_file
from qnn_robustness.common.progress import progress
from qnn_robustness.data.mirrors import MIRROR_VARIABLE, mirrors_from_environment, places

RETRIES = 2
TIMEOUT_SECONDS = 30
WRONG_CHECKSUM = "wrong checksum"

_CHECKSUM = re.compile(r"(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class _Unavailable(Exception):
    """Why one place did not serve the archive."""


def download(
    archive: str,
    urls: Sequence[str],
    checksum: str | None,
    destination: str | Path,
    mirrors: Sequence[str] = (),
) -> None:
    """Place the archive at `destination`, from the first place that has it with the right checksum.

    Places are tried in this order: those in the variable QNN_DATA_MIRROR (see `mirrors_from_environment`),
    `mirrors`, then the official `urls`. A mirror is a folder that holds a file of the archive's name, or a
    URL to which that name is appended. `checksum` is `sha256:<hex>` or `md5:<hex>`; with None any content is
    taken, and its SHA-256 is printed so that it can be pinned.

    Raises UserError when no place serves it, naming each place and its reason, and when the disk is full.
    """
    destination = Path(destination)
    if archive in ("", "..") or Path(archive).name != archive:
        raise UserError(f"archive: '{archive}' is not a plain file name; put its folder into `mirrors`")
    if checksum is not None and not _CHECKSUM.fullmatch(checksum):
        raise UserError(
            f"checksum: '{checksum}' of {archive} is not sha256: or md5: and 64 or 32 lower-case hex digits"
        )
    failures = []
    for place in places(archive, urls, [*mirrors_from_environment(), *mirrors]):
        try:
            _fetch(place, checksum, destination)
        except _Unavailable as reason:
            failures.append(f"{place} ({reason})")
            print(f"{archive}: {failures[-1]}; trying the next place", flush=True)
        else:
            print(f"{archive}: from {place}", flush=True)
            if checksum is None:
                print(f"{archive}: no checksum is known; pin it: sha256:{sha256_file(destination)}")
            return
    tried = "; ".join(failures) or "no mirror and no address is known"
    remedy = f"put the file into a folder and set {MIRROR_VARIABLE} to it"
    if WRONG_CHECKSUM in tried:
        remedy = f"put the right file into a folder and set {MIRROR_VARIABLE} to it, or correct the data set's checksum"
    raise UserError(f"{archive}: cannot be had from anywhere: {tried}; {remedy}")


def _fetch(place: str, checksum: str | None, destination: Path) -> None:
    with atomic_path(destination) as partial:
        if "://" in place:
            _fetch_url(place, checksum, destination, partial)
        else:
            _copy(Path(place), checksum, partial)


def _copy(source: Path, checksum: str | None, partial: Path) -> None:
    """Copy a file's content, never a link to it: the mirror may vanish."""
    try:
        if not source.is_file():
            raise _Unavailable("is not a file" if source.exists() else "no such file")
        shutil.copyfile(source, partial)
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise _Unavailable(f"cannot be read: {error.strerror}") from error
    if checksum is not None:
        algorithm, expected = checksum.split(":")
        with partial.open("rb") as stream:
            found = hashlib.file_digest(stream, algorithm).hexdigest()
        if found != expected:
            raise _Unavailable(f"{WRONG_CHECKSUM}: {algorithm} {found}, expected {expected}")


def _fetch_url(url: str, checksum: str | None, destination: Path, partial: Path) -> None:
    """Download by pooch, which retries on network errors and wrong checksums."""
    # pooch invents the name it writes to: a folder of its own keeps that findable after a kill
    suffix = f"-{destination.name}.download"
    for leftover in destination.parent.glob(f"{PARTIAL}*{suffix}"):
        if "-" not in leftover.name.removeprefix(PARTIAL).removesuffix(suffix):  # else of a longer name
            shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, suffix=suffix, dir=destination.parent) as folder:
        fetcher = pooch.create(
            path=folder,
            base_url="",
            registry={destination.name: checksum},
            urls={destination.name: url},
            retry_if_failed=RETRIES,
        )
        bar = progress((), f"download {url}", unit="B")
        try:
            fetched = fetcher.fetch(
                destination.name, downloader=pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS, progressbar=bar)
            )
        except (requests.RequestException, ValueError) as error:
            raise _Unavailable(_reason(error)) from error
        os.replace(fetched, partial)


def _reason(error: Exception) -> str:
    if isinstance(error, requests.HTTPError):
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT_SECONDS} s"
    if isinstance(error, requests.ConnectionError):
        return "unreachable"
    if "hash" in str(error):
        return WRONG_CHECKSUM
    return str(error)
