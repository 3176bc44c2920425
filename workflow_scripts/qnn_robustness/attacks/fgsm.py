"""Fast gradient sign method (Goodfellow et al. 2015, section 4), and its L2 counterpart (Foolbox)."""

from __future__ import annotations

from foolbox.attacks import L2FastGradientAttack, LinfFastGradientAttack
from foolbox.attacks.base import Attack

ACCESS = "white_box"
NORMS = {"linf": LinfFastGradientAttack, "l2": L2FastGradientAttack}
BUDGETED = True


def build(norm: str, *, random_start: bool) -> Attack:
    """Return the attack: one step of the length of the budget."""
    return NORMS[norm](random_start=random_start)
