"""The state of a training between two epochs, on disk: a killed training continues where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import read_arrays, sha256_arrays, write_arrays


class ResumeFile:
    """A file which only a training with the same `key` reads: the hash of all that decides about its weights.

    It is written atomically, is no result of the workflow, and is removed when the training is complete.
    """

    def __init__(self, path: str | Path, key: str):
        self.path, self.key = Path(path), key

    def save(self, state: dict[str, np.ndarray]) -> None:
        write_arrays(self.path, key=np.array(self.key), content=np.array(_content(state)), **state)

    def load(self) -> dict[str, np.ndarray] | None:
        """Return the state, or None when there is none, when it is damaged, or when it belongs to another key."""
        if not self.path.exists():
            return None
        try:
            state = read_arrays(self.path)
        except UserError as error:
            print(f"starting anew: {error}", flush=True)
            return None
        key, content = (str(state.pop(name, "")) for name in ("key", "content"))
        if content != _content(state):  # the list of arrays has no check sum of its own in an .npz
            print(f"starting anew: {self.path} is damaged: it does not hold what was written", flush=True)
            return None
        if key != self.key:
            print(f"starting anew: {self.path} belongs to other parameters, code or inputs", flush=True)
            return None
        return state

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _content(state: dict[str, np.ndarray]) -> str:
    """Return the hash of the arrays and of their names."""
    names = sorted(state)
    return sha256_arrays(np.array(names), *(np.asarray(state[name]) for name in names))
