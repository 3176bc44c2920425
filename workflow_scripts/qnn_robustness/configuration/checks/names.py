"""Names that have to be known."""

from __future__ import annotations

from collections.abc import Collection

from qnn_robustness.common.errors import UserError, did_you_mean


def check_known(name: str, known: Collection[str], where: str, kind: str) -> None:
    """Raise UserError, with the nearest known name, unless `name` is known."""
    if name not in known:
        raise UserError(f"{where}: unknown {kind} '{name}'; {did_you_mean(name, known)}")
