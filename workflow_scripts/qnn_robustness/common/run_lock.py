"""Locks of runs that were killed: Snakemake keeps them and refuses the next run until it is told `--unlock`."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import IO


def hold(folder: Path) -> IO | None:
    """Remove the locks in `folder` (Snakemake's `.snakemake`) if no run is alive, and mark this one as alive.

    The mark is a lock on an open file, which the kernel takes back when the process ends, however it ends. Keep
    the returned file. Returns None, and leaves Snakemake's locks as they are, when another run holds the mark or
    when the file system has no such locks.
    """
    folder.mkdir(exist_ok=True)
    mark = (folder / "running").open("w")
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        mark.close()
        return None
    shutil.rmtree(folder / "locks", ignore_errors=True)
    (folder / "locks").mkdir(exist_ok=True)
    return mark
