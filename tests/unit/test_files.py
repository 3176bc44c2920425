"""Atomic files, and what a job does with errors."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qnn_robustness.common.errors import UserError, did_you_mean
from qnn_robustness.common.files import (
    PARTIAL,
    atomic_path,
    read_arrays,
    sha256_arrays,
    sha256_path,
    write_arrays,
    write_text,
)

LIBRARY = Path(__file__).resolve().parents[2] / "workflow_scripts"


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "result.csv"
    with atomic_path(path) as partial:
        partial.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert [entry.name for entry in path.parent.iterdir()] == ["result.csv"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.csv"
    write_text(path, "old")

    def fail():
        with atomic_path(path) as partial:
            partial.write_text("new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.csv"]


def test_leftovers_of_a_killed_writer_are_removed_by_the_next(tmp_path):
    (tmp_path / f"{PARTIAL}99999-result.csv").write_text("half")
    (tmp_path / f"{PARTIAL}99999-other.csv").write_text("half")
    write_text(tmp_path / "result.csv", "whole")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f"{PARTIAL}99999-other.csv", "result.csv"]


def test_a_file_of_a_longer_name_that_is_being_written_is_no_leftover(tmp_path):
    with atomic_path(tmp_path / "train-x.mat") as partial:
        partial.write_bytes(b"half")
        write_text(tmp_path / "x.mat", "whole")
    assert (tmp_path / "train-x.mat").read_bytes() == b"half"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_clear_line(tmp_path, number):
    def fail():
        with atomic_path(tmp_path / "result.npz"):
            raise OSError(number, os.strerror(number))

    with pytest.raises(UserError, match=r"result.npz: no space left on the disk; free some space"):
        fail()
    assert not list(tmp_path.iterdir())


def test_arrays_come_back_and_equal_arrays_are_equal_bytes(tmp_path):
    arrays = {"a": np.arange(12).reshape(3, 4), "text": np.array("x"), "none": np.empty((0, 2), np.float32)}
    write_arrays(tmp_path / "one.npz", **arrays)
    back = read_arrays(tmp_path / "one.npz")
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
    time.sleep(2.1)  # a zip member's time stamp has two seconds
    write_arrays(tmp_path / "two.npz", **arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_archive_is_one_clear_line(tmp_path, content):
    path = tmp_path / "a.npz"
    write_arrays(path, a=np.arange(1000))
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    with pytest.raises(UserError, match=r"a\.npz: not a readable"):
        read_arrays(path)
    with pytest.raises(UserError, match="no such file"):
        read_arrays(tmp_path / "missing.npz")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", a=np.array([{"run": "me"}], dtype=object))
    with pytest.raises(UserError, match="not a readable"):
        read_arrays(tmp_path / "evil.npz")


def test_the_hash_of_arrays_sees_type_shape_and_values():
    base = np.arange(6, dtype=np.int64)
    others = [base.astype(np.int32), base.reshape(2, 3), base + 1]
    assert sha256_arrays(base) == sha256_arrays(base.copy())
    assert len({sha256_arrays(array) for array in [base, *others]}) == 4


def test_the_closest_word_is_named():
    assert did_you_mean("pdg", ["pgd", "fgsm"]) == "did you mean 'pgd'?"
    assert did_you_mean("zzz", ["pgd", "fgsm"]) == "known: fgsm, pgd"


INTERRUPTED = "interrupted; the same command goes on from here"
SCRIPT = """
import types
from qnn_robustness.common import job
job.start(types.SimpleNamespace(threads=3, log=[{log!r}]))
import os
from qnn_robustness.common.errors import UserError
print("threads", os.environ["OMP_NUM_THREADS"])
os.system("echo from a child process")
raise {error}
"""


@pytest.mark.parametrize(
    ("error", "status", "line", "in_log"),
    [
        ("UserError('a: b;\\nc')", 1, "error: a: b; c\n", "error: a: b; c"),
        ("ValueError('odd')", 1, "ValueError: odd\n", "Traceback"),
        ("KeyboardInterrupt", -signal.SIGINT, f"{INTERRUPTED}\n", INTERRUPTED),
    ],
)
def test_a_job_ends_in_one_line_and_logs_the_rest(tmp_path, error, status, line, in_log):
    script, log = tmp_path / "script.py", tmp_path / "job.log"
    script.write_text(SCRIPT.format(log=str(log), error=error))
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(LIBRARY)},
    )
    assert done.returncode == status
    assert done.stderr == line
    assert done.stdout == ""
    content = log.read_text()
    assert ("Traceback" in content) == (in_log == "Traceback")
    assert "threads 3" in content
    assert "from a child process" in content
    assert in_log in content


def test_the_hash_of_a_folder_covers_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "folder" / "a").mkdir(parents=True)
    (tmp_path / "folder" / "a" / "1").write_bytes(b"one")
    seen = {sha256_path(tmp_path / "folder")}
    (tmp_path / "folder" / "a" / "1").write_bytes(b"two")
    seen.add(sha256_path(tmp_path / "folder"))
    (tmp_path / "folder" / "a" / "1").rename(tmp_path / "folder" / "a" / "2")
    seen.add(sha256_path(tmp_path / "folder"))
    (tmp_path / "folder" / "a" / "2").rename(tmp_path / "folder" / "2")
    seen.add(sha256_path(tmp_path / "folder"))
    assert len(seen) == 4
    for clutter in (".DS_Store", "Thumbs.db", ".git/index"):
        (tmp_path / "folder" / clutter).parent.mkdir(exist_ok=True)
        (tmp_path / "folder" / clutter).write_bytes(b"clutter")
    assert sha256_path(tmp_path / "folder") in seen
    assert sha256_path(tmp_path / "folder" / "2") == hashlib.sha256(b"two").hexdigest()


def test_a_message_is_one_line_without_the_colours_of_a_terminal():
    error = UserError("a.tflite: \x1b[1mReshape()\x1b[0m\n  fails")
    assert str(error) == "a.tflite: Reshape() fails"
