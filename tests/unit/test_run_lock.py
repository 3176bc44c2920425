"""The locks of a dead run go, those of a living one stay."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qnn_robustness.common import run_lock
from qnn_robustness.common.code_hash import LIBRARY

HOLD = "import sys; from pathlib import Path; from qnn_robustness.common import run_lock\n"
HOLD += "mark = run_lock.hold(Path(sys.argv[1])); print(mark is not None, flush=True); sys.stdin.read()"


@contextmanager
def other_run(folder: Path) -> Iterator[Path]:
    """Mark another process as alive, and kill it at the end; yields a lock of Snakemake."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=LIBRARY.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "True\n"
    lock = folder / "locks" / "0.input.lock"
    lock.write_text("results/a\n")
    try:
        yield lock
    finally:
        process.kill()
        process.communicate()


def test_locks_stay_while_a_run_is_alive_and_go_when_it_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / ".snakemake"
    with other_run(folder) as lock:
        run_lock.hold(folder).close()
        assert lock.exists()
    mark = run_lock.hold(folder)
    assert not lock.exists()
    assert lock.parent.is_dir()
    mark.close()


def test_the_second_of_two_runs_is_alive_when_the_first_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / ".snakemake"
    first = run_lock.hold(folder)
    with other_run(folder) as lock:
        first.close()
        run_lock.hold(folder).close()
        assert lock.exists()


def test_a_run_that_has_ended_leaves_no_mark(tmp_path: Path) -> None:
    run_lock.hold(tmp_path / ".snakemake").close()
    run_lock.hold(tmp_path / ".snakemake").close()
