"""HopSkipJump (Chen et al. 2020, algorithm 2): gradient estimates at the boundary from labels alone (Foolbox)."""

from __future__ import annotations

from foolbox.attacks import HopSkipJumpAttack, LinearSearchBlendedUniformNoiseAttack
from foolbox.attacks.base import Attack

ACCESS = "decision"
NORMS = {"l2": HopSkipJumpAttack, "linf": HopSkipJumpAttack}
BUDGETED = False


def build(
    norm: str,
    *,
    steps: int,
    initial_gradient_eval_steps: int,
    max_gradient_eval_steps: int,
    gamma: float,
    initial_draws: int,
) -> Attack:
    """Return the attack; it starts from a random image blended with the sample."""
    return NORMS[norm](
        init_attack=LinearSearchBlendedUniformNoiseAttack(directions=initial_draws, steps=50),
        steps=steps,
        initial_gradient_eval_steps=initial_gradient_eval_steps,
        max_gradient_eval_steps=max_gradient_eval_steps,
        gamma=gamma,
        constraint=norm,
    )
