"""The boundary attack (Brendel et al. 2018, algorithm 1): a random walk along the boundary (Foolbox)."""

from __future__ import annotations

from foolbox.attacks import BoundaryAttack
from foolbox.attacks.base import Attack

from qnn_robustness.attacks.crafting.blended_noise import BlendedNoise

ACCESS = "decision"
NORMS = {"l2": BoundaryAttack}
BUDGETED = False

# Steps between updates of the step sizes. With Foolbox's 10 its records, of 30 and 100 updates, are full too late for
# searches of a few thousand queries.
UPDATE_EVERY = 3


def build(
    norm: str,
    *,
    steps: int,
    spherical_step: float,
    source_step: float,
    step_adaptation: float,
    initial_draws: int,
) -> Attack:
    """Return the attack; it starts from a random image blended with the sample."""
    return NORMS[norm](
        init_attack=BlendedNoise(initial_draws),
        steps=steps,
        spherical_step=spherical_step,
        source_step=source_step,
        step_adaptation=step_adaptation,
        update_stats_every_k=UPDATE_EVERY,
    )
