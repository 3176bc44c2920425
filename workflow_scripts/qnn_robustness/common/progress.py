"""Progress bars: live on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

SECONDS_LIVE, SECONDS_LOGGED = 0.2, 10.0  # between two states of a bar


class _Bar(tqdm):
    """Counts each item as it is done: tqdm's own iteration counts some twice when it is updated in between."""

    def __iter__(self) -> Iterator[Item]:
        for item in self.iterable:
            yield item
            self.update()
        self.close()


def progress(items: Iterable[Item], description: str, total: int | None = None, unit: str = "it") -> tqdm[Item]:
    """Iterate over `items` with a progress bar on the job's log (or terminal)."""
    live = sys.stderr.isatty()
    return _Bar(
        items,
        desc=description,
        total=total,
        unit=unit,
        file=sys.stderr,
        mininterval=SECONDS_LIVE if live else SECONDS_LOGGED,
        miniters=0,  # else `note` waits for the next item
        smoothing=0,  # averages over all items: the newest one seems to have begun with the last note
        ascii=not live,
    )


def note(bar: tqdm, text: str) -> None:
    """Show `text` beside the bar when it is due, also before the item at hand is done."""
    bar.set_postfix_str(text, refresh=False)
    bar.update(0)
