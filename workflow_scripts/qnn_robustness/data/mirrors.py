"""Where an archive may be had: mirrors from the environment and the configuration, and its official addresses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

MIRROR_VARIABLE = "QNN_DATA_MIRROR"


def mirrors_from_environment() -> list[str]:
    """Return the mirrors in QNN_DATA_MIRROR: separated by commas, and folders also by the path separator.

    `/data:/media/disk` are two folders, `/data,http://host:8000/data` a folder and a URL: a URL holds
    colons, so only commas end it.
    """
    parts = os.environ.get(MIRROR_VARIABLE, "").split(",")
    mirrors = [mirror for part in parts for mirror in ([part] if "://" in part else part.split(os.pathsep))]
    return [mirror.strip() for mirror in mirrors if mirror.strip()]


def places(archive: str, urls: Sequence[str], mirrors: Sequence[str]) -> list[str]:
    """Return files and URLs to try, in order and once each."""
    places = [
        f"{mirror.rstrip('/')}/{archive}" if "://" in mirror else str(Path(mirror).expanduser() / archive)
        for mirror in mirrors
    ]
    return list(dict.fromkeys([*places, *urls]))
