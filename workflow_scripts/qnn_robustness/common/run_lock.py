"""Locks of runs that were killed: Snakemake keeps them and refuses the next run until it is told `--unlock`."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import IO


def hold(folder: Path) -> IO | None:
    """Mark this run as alive, and remove the locks in `folder` (Snakemake's `.snakemake`) if no other run is.

    The mark is a shared lock on an open file, which the kernel takes back when the process ends, however it ends. Keep
    the returned file. Returns None, and leaves Snakemake's locks as they are, when the file system has no such locks.
    """
    folder.mkdir(exist_ok=True)
    mark = (folder / "running").open("w")
    try:
        if _alone(mark):
            shutil.rmtree(folder / "locks", ignore_errors=True)
            (folder / "locks").mkdir(exist_ok=True)
        fcntl.flock(mark, fcntl.LOCK_SH)
    except OSError:
        mark.close()
        return None
    return mark


def _alone(mark: IO) -> bool:
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
