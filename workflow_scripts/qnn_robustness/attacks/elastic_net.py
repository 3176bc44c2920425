"""EAD, the elastic-net attack (Chen et al. 2018, algorithm 1) (Foolbox)."""

from __future__ import annotations

from foolbox.attacks import EADAttack
from foolbox.attacks.base import Attack

ACCESS = "white_box"
NORMS = {"l1": EADAttack}
BUDGETED = False


def build(
    norm: str,
    *,
    binary_search_steps: int,
    steps: int,
    initial_step_size: float,
    confidence: float,
    initial_constant: float,
    regularization: float,
    decision_rule: str,
    abort_early: bool,
) -> Attack:
    """Return the attack; `regularization` is the weight beta of the L1 term in equation 7."""
    return NORMS[norm](
        binary_search_steps=binary_search_steps,
        steps=steps,
        initial_stepsize=initial_step_size,
        confidence=confidence,
        initial_const=initial_constant,
        regularization=regularization,
        decision_rule=decision_rule,
        abort_early=abort_early,
    )
