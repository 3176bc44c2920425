"""What every script does first: log, threads, one-line errors."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.lean_keras import hide_extras

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def start(snakemake: Any) -> None:
    """Set up a script run by Snakemake: log, thread counts, and errors that end in one clear line.

    All output of the job, that of libraries in C++ too, goes to `snakemake.log[0]`. An uncaught UserError is
    one line there and on the terminal, and so is an interruption; any other exception leaves its traceback in the
    log. The exit status is 1, or that of the interruption. Call it before numpy or TensorFlow are imported.
    """
    for name in THREAD_VARIABLES:
        os.environ[name] = str(snakemake.threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TensorFlow turns oneDNN on by itself on some processors alone; others are faster with it, too.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    hide_extras()
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    if snakemake.log:
        log = os.open(snakemake.log[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stderr.reconfigure(line_buffering=True)

    def report(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if isinstance(error, UserError):
            line = f"error: {error}"
            print(line, file=sys.stderr)
        elif issubclass(kind, KeyboardInterrupt):
            line = "interrupted; the same command goes on from here"
            print(line, file=sys.stderr)
        else:
            traceback.print_exception(kind, error, trace, file=sys.stderr)
            line = f"{kind.__name__}: {error}"
        print(line, file=terminal)

    sys.excepthook = report
