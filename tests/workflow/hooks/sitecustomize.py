"""Imported by every Python process that has this folder on its PYTHONPATH, the jobs of a workflow too.

TEST_RECORD=FOLDER writes the names of all modules that a job or a notebook's kernel has imported into that
folder, with the job's first output.
TEST_STALL=NAME cuts the file that is about to become NAME to half its size, writes the number of its process
into TEST_MARKER and sleeps: the moment of a kill in the middle of a write.
TEST_FULL=NAME lets the same moment end like a full disk.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import sys
import time
import uuid
from pathlib import Path

_replace = os.replace


def _record() -> None:
    job = getattr(sys.modules["__main__"], "snakemake", None)
    if job is not None or "ipykernel" in sys.modules:
        content = {"output": job.output[0] if job else "kernel", "modules": sorted(sys.modules)}
        Path(os.environ["TEST_RECORD"], f"{uuid.uuid4().hex}.json").write_text(json.dumps(content))


def _stall_or_fail(source, destination, **arguments) -> None:
    name = Path(destination).name
    if name == os.environ.get("TEST_FULL"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if name == os.environ.get("TEST_STALL"):
        os.truncate(source, os.path.getsize(source) // 2)
        Path(os.environ["TEST_MARKER"]).write_text(str(os.getpid()))
        time.sleep(600)
    _replace(source, destination, **arguments)


if "TEST_RECORD" in os.environ:
    atexit.register(_record)
os.replace = _stall_or_fail
