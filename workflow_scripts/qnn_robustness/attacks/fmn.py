"""FMN, the fast minimum-norm attack (Pintor et al. 2021, algorithm 1) (Foolbox)."""

from __future__ import annotations

import copy
from typing import Any

import eagerpy as ep
from foolbox.attacks import L1FMNAttack, L2FMNAttack, LInfFMNAttack
from foolbox.attacks.base import Attack
from foolbox.devutils import atleast_kd, flatten
from foolbox.models import Model

ACCESS = "white_box"
BUDGETED = False
TINY = 1e-12


class _FromTheSample:
    """The attack as it starts from the sample itself: no `init_attack`, which would ask for starting points."""

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        del self.init_attack

    def run(self, model: Model, inputs: Any, criterion: Any, **kwargs: Any) -> Any:
        attack = copy.copy(self)
        attack.init_attack = None
        return super(_FromTheSample, attack).run(model, inputs, criterion, **kwargs)


class L1FMN(_FromTheSample, L1FMNAttack):
    """The attack for the L1 distance."""


class LinfFMN(_FromTheSample, LInfFMNAttack):
    """The attack for the Linf distance."""


class L2FMN(_FromTheSample, L2FMNAttack):
    """Foolbox's attack with the projection of the paper: Foolbox's own leaves every point where it is."""

    def project(self, x: ep.Tensor, x0: ep.Tensor, epsilon: ep.Tensor) -> ep.Tensor:
        """Return `x` [N, ...], moved towards `x0` until at most `epsilon` [N] away from it."""
        lengths = ep.maximum(ep.norms.l2(flatten(x - x0), axis=-1), TINY)
        return x0 + (x - x0) * atleast_kd(ep.minimum(1, epsilon / lengths), x.ndim)


NORMS = {"linf": LinfFMN, "l2": L2FMN, "l1": L1FMN}


def build(norm: str, *, steps: int, step_size: float, gamma: float) -> Attack:
    """Return the attack; `step_size` is the first L2 length of a step, for inputs in [0, 1]."""
    return NORMS[norm](steps=steps, max_stepsize=step_size, gamma=gamma)
