"""HopSkipJump (Chen et al. 2020, algorithm 2): gradient estimates at the boundary from labels alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import eagerpy as ep
import numpy as np
from foolbox.attacks import HopSkipJumpAttack
from foolbox.attacks.base import Attack
from foolbox.devutils import atleast_kd, flatten

from qnn_robustness.attacks.crafting.blended_noise import BlendedNoise

ACCESS = "decision"
NORMS = ("l2", "linf")
BUDGETED = False


class HopSkipJump(HopSkipJumpAttack):
    """Foolbox's HopSkipJump, independent of the batch and with probes that integer networks can feel.

    Foolbox divides the gradient estimates of a batch by the norm of the whole batch, so that steps shrink as
    the batch grows; here each has length one (as in the paper, equation 9). Searches for the boundary end at
    the same step for every sample. `smallest_probe` is the least root mean square, per input value, of the random
    probes: the paper's delta is far below one level of an 8-bit input, where the decision of an integer network
    cannot change.
    """

    def __init__(self, smallest_probe: float, **arguments):
        super().__init__(**arguments)
        self.smallest_probe = smallest_probe

    def approximate_gradients(
        self,
        is_adversarial: Callable[[ep.Tensor], ep.Tensor],
        x_advs: ep.Tensor,
        steps: int,
        delta: ep.Tensor,
    ) -> ep.Tensor:
        """Return the Monte Carlo estimate of equation 9 with the baseline of equation 16, each of length one."""
        shape = (steps, *x_advs.shape)
        probes = ep.normal(x_advs, shape) if self.constraint == "l2" else ep.uniform(x_advs, shape, -1.0, 1.0)
        probes = probes / atleast_kd(ep.norms.l2(flatten(probes, keep=2), axis=-1), probes.ndim)
        perturbed = ep.clip(x_advs + atleast_kd(delta, x_advs.ndim) * probes, 0, 1)
        probes = (perturbed - x_advs) / atleast_kd(delta, x_advs.ndim)
        signs = ep.stack([ep.where(is_adversarial(step), 1.0, -1.0) for step in perturbed], axis=0)
        mean = ep.mean(signs, axis=0)
        weights = ep.where(ep.abs(mean) == 1, signs, signs - mean)
        gradients = ep.mean(atleast_kd(weights, probes.ndim) * probes, axis=0)
        lengths = ep.norms.l2(flatten(gradients), axis=-1)
        return gradients / (atleast_kd(lengths, gradients.ndim) + 1e-12)

    def _binary_search(
        self, is_adversarial: Callable[[ep.Tensor], ep.Tensor], originals: ep.Tensor, perturbed: ep.Tensor
    ) -> ep.Tensor:
        """Return the adversarial points next to the boundary on the way from the originals, all after as many halvings.

        Foolbox asks until each of the batch is within the tolerance; for Linf their rounding decides when that is.
        """
        linf, size = self.constraint == "linf", math.prod(originals.shape[1:])
        highs = self.distance(originals, perturbed) if linf else ep.ones(originals, len(originals))
        lows = ep.zeros_like(highs)
        for _ in range(math.ceil(math.log2(size ** (2.0 if linf else 1.5) / self.gamma))):
            middle = (lows + highs) / 2
            adversarial = is_adversarial(self._project(originals, perturbed, middle))
            highs, lows = ep.where(adversarial, middle, highs), ep.where(adversarial, lows, middle)
        return self._project(originals, perturbed, highs)

    def select_delta(self, originals: ep.Tensor, distances: ep.Tensor, step: int) -> ep.Tensor:
        size = int(np.prod(originals.shape[1:]))
        return ep.maximum(super().select_delta(originals, distances, step), self.smallest_probe * np.sqrt(size))


def build(
    norm: str,
    *,
    steps: int,
    initial_gradient_eval_steps: int,
    max_gradient_eval_steps: int,
    gamma: float,
    smallest_probe: float,
    initial_draws: int,
) -> Attack:
    """Return the attack; it starts from a random image blended with the sample."""
    return HopSkipJump(
        smallest_probe=smallest_probe,
        init_attack=BlendedNoise(initial_draws),
        steps=steps,
        initial_gradient_eval_steps=initial_gradient_eval_steps,
        max_gradient_eval_steps=max_gradient_eval_steps,
        gamma=gamma,
        constraint=norm,
    )
