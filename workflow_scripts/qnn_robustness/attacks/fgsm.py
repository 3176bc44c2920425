"""Fast gradient sign method (Goodfellow et al. 2015, section 4), and its L2 counterpart (Foolbox)."""

from __future__ import annotations

from foolbox.attacks import L2FastGradientAttack, LinfFastGradientAttack
from foolbox.attacks.base import Attack

from qnn_robustness.attacks.crafting.descent import Descent

ACCESS = "white_box"
BUDGETED = True


class LinfFastGradient(Descent, LinfFastGradientAttack):
    """One step along the signs of the gradient."""


class L2FastGradient(Descent, L2FastGradientAttack):
    """One step along the gradient."""


NORMS = {"linf": LinfFastGradient, "l2": L2FastGradient}


def build(norm: str, *, random_start: bool) -> Attack:
    """Return the attack: one step of the length of the budget."""
    return NORMS[norm](random_start=random_start)
