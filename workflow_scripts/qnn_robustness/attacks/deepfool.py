"""DeepFool (Moosavi-Dezfooli et al. 2016, algorithm 2): steps to the nearest linearised boundary (Foolbox)."""

from __future__ import annotations

from foolbox.attacks import L2DeepFoolAttack, LinfDeepFoolAttack
from foolbox.attacks.base import Attack

ACCESS = "white_box"
NORMS = {"linf": LinfDeepFoolAttack, "l2": L2DeepFoolAttack}
BUDGETED = False


def build(norm: str, *, steps: int, overshoot: float) -> Attack:
    """Return the attack on the logits, over all classes."""
    return NORMS[norm](steps=steps, candidates=None, overshoot=overshoot, loss="logits")
