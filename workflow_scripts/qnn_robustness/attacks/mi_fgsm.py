"""Momentum iterative FGSM (Dong et al. 2018, algorithm 1) (Foolbox)."""

from __future__ import annotations

import eagerpy as ep
from foolbox.attacks import (
    L2MomentumIterativeFastGradientMethod,
    LinfMomentumIterativeFastGradientMethod,
)
from foolbox.attacks.base import Attack
from foolbox.devutils import atleast_kd, flatten

from qnn_robustness.attacks.crafting.descent import Descent

ACCESS = "white_box"
BUDGETED = True
TINY = 1e-30


class _Normalised(Descent):
    """Gradients of L1 length one before they are accumulated (equation 6); Foolbox adds their signs or directions."""

    def normalize(self, gradients: ep.Tensor, *, x: ep.Tensor, bounds: object) -> ep.Tensor:
        lengths = ep.maximum(ep.norms.l1(flatten(gradients), axis=-1), TINY)
        return gradients / atleast_kd(lengths, gradients.ndim)


class LinfMomentum(_Normalised, LinfMomentumIterativeFastGradientMethod):
    """The attack in the Linf ball: steps along the signs of the accumulated gradient."""


class L2Momentum(_Normalised, L2MomentumIterativeFastGradientMethod):
    """The attack in the L2 ball: steps along the accumulated gradient."""


NORMS = {"linf": LinfMomentum, "l2": L2Momentum}


def build(norm: str, *, steps: int, relative_step_size: float, momentum: float) -> Attack:
    """Return the attack; `relative_step_size` is a share of the budget."""
    return NORMS[norm](steps=steps, rel_stepsize=relative_step_size, momentum=momentum, random_start=False)
