"""What every script does first: log, threads, one-line errors."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from qnn_robustness.common.errors import UserError


class _LogAndTerminal:
    """A stream that writes to the log of the job; the traceback goes there as well."""

    def __init__(self, path: str):
        self._log = open(path, "w", buffering=1, encoding="utf-8")  # noqa: SIM115 - lives as long as the job

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def start(snakemake: Any) -> None:
    """Set up a script run by Snakemake: log, thread counts, and errors that end in one clear line.

    Output of the job goes to `snakemake.log[0]`. An uncaught UserError is one line there and on the
    terminal; any other exception leaves its traceback in the log. The exit status is 1 in both cases.
    Call it before TensorFlow or numpy's BLAS are used.
    """
    threads = str(snakemake.threads)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = threads
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    terminal = sys.stderr
    if snakemake.log:
        sys.stderr = sys.stdout = _LogAndTerminal(snakemake.log[0])

    def report(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if isinstance(error, UserError):
            line = f"error: {error}"
            print(line, file=sys.stderr)
        else:
            traceback.print_exception(kind, error, trace, file=sys.stderr)
            line = f"{kind.__name__}: {error}"
        if terminal is not sys.stderr:
            print(line, file=terminal)

    sys.excepthook = report
