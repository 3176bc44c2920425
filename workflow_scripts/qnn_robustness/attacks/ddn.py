"""DDN, decoupled direction and norm (Rony et al. 2019, algorithm 1) (Foolbox)."""

from __future__ import annotations

from foolbox.attacks import DDNAttack
from foolbox.attacks.base import Attack

ACCESS = "white_box"
NORMS = {"l2": DDNAttack}
BUDGETED = False


def build(norm: str, *, steps: int, initial_radius: float, gamma: float) -> Attack:
    """Return the attack; `initial_radius` is the first L2 length, for inputs in [0, 1]."""
    return NORMS[norm](steps=steps, init_epsilon=initial_radius, gamma=gamma)
