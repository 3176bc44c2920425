"""The one exception for everything a user can mend."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # of terminals, in reasons that Keras gives


class UserError(Exception):
    """Bad input. Its message is one line: where, what is wrong, and what would be right."""

    def __init__(self, message: str):
        super().__init__(" ".join(COLOUR.sub("", str(message)).split()))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the closest known word, otherwise the list of known words."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(known)}" if known else "none is known"
