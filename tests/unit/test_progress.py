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
