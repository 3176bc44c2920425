"""The attack of Brendel et al. (2019): steps along the boundary, each the optimum of a trust region (Foolbox).

It needs numba; the optimiser is compiled at the first use in a process, which takes up to a minute.
"""

from __future__ import annotations

import copy
from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.attacks import (
    L1BrendelBethgeAttack,
    L2BrendelBethgeAttack,
    LinfinityBrendelBethgeAttack,
)
from foolbox.attacks.base import Attack
from foolbox.models import Model

from qnn_robustness.attacks.crafting.blended_noise import BlendedNoise
from qnn_robustness.attacks.crafting.gradients import check_gradients

ACCESS = "white_box"
BUDGETED = False


class _Independent:
    """A trust region like any distance: Foolbox's radius grows with the number of samples, and of values, in a batch.

    Small images ended far from the boundary when they were attacked alone.
    """

    def run(self, model: Model, inputs: Any, criterion: Any, **kwargs: Any) -> Any:
        check_gradients(self, model, ep.astensor(inputs))
        alone = copy.copy(self)
        alone.lr = self.lr / len(inputs) / np.sqrt(np.prod(inputs.shape[1:]))
        return super(_Independent, alone).run(model, inputs, criterion, **kwargs)


class L1BrendelBethge(_Independent, L1BrendelBethgeAttack):
    """The attack for the L1 distance."""


class L2BrendelBethge(_Independent, L2BrendelBethgeAttack):
    """The attack for the L2 distance."""


class LinfBrendelBethge(_Independent, LinfinityBrendelBethgeAttack):
    """The attack for the Linf distance."""


NORMS = {"linf": LinfBrendelBethge, "l2": L2BrendelBethge, "l1": L1BrendelBethge}


def build(
    norm: str,
    *,
    steps: int,
    trust_region: float,
    decay: float,
    decays: int,
    overshoot: float,
    momentum: float,
    initial_draws: int,
) -> Attack:
    """Return the attack; it starts from a random image blended with the sample.

    `trust_region` is the first L2 radius of a step by the square root of the number of input values.
    """
    return NORMS[norm](
        init_attack=BlendedNoise(initial_draws),
        steps=steps,
        lr=trust_region,
        lr_decay=decay,
        lr_num_decay=decays,
        overshoot=overshoot,
        momentum=momentum,
    )
