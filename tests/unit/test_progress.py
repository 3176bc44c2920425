"""Progress bars that say more than how many items are done."""

from __future__ import annotations

import time

import pytest

from qnn_robustness.common import progress


def test_notes_between_items_do_not_count(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(progress, "SECONDS_LOGGED", 0.01)
    bar = progress.progress(range(5), "crafting", unit="block")
    for done in bar:
        assert bar.n == done
        for queries in range(3):
            time.sleep(0.006)
            progress.note(bar, f"{queries} queries")
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert "2 queries" in shown


def test_the_rate_is_that_of_items_however_often_there_are_notes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    bar = progress.progress(range(3), "crafting", unit="block")
    for _ in bar:
        for queries in range(4):
            progress.note(bar, f"{queries} queries")
            now[0] += 10
    assert "2/3 [01:20<00:40, 40.00s/block" in capsys.readouterr().err
