"""HopSkipJump (Chen et al. 2020, algorithm 2): gradient estimates at the boundary from labels alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import eagerpy as ep
from foolbox.attacks import HopSkipJumpAttack
from foolbox.attacks.base import Attack, get_criterion
from foolbox.criteria import Criterion
from foolbox.devutils import atleast_kd, flatten
from foolbox.models import Model

from qnn_robustness.attacks.crafting.array_model import rounds_at_once
from qnn_robustness.attacks.crafting.blended_noise import BlendedNoise
from qnn_robustness.attacks.crafting.unit_box import in_unit_box

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

    @in_unit_box
    def run(self, model: Model, inputs: Any, criterion: Any, *, starting_points: Any = None, **options: Any) -> Any:
        if starting_points is None:
            starting_points = self.init_attack.run(model, inputs, criterion)
        tiled = _Tiled(get_criterion(criterion), len(inputs))
        return super().run(model, inputs, tiled, starting_points=starting_points, **options)

    def approximate_gradients(
        self,
        is_adversarial: Callable[[ep.Tensor], ep.Tensor],
        x_advs: ep.Tensor,
        steps: int,
        delta: ep.Tensor,
    ) -> ep.Tensor:
        """Return the Monte Carlo estimate of equation 9 with the baseline of equation 16, each of length one."""
        weighted = plain = ep.zeros_like(x_advs)
        balance = ep.zeros(x_advs, len(x_advs))
        lengths, at_once = atleast_kd(delta, x_advs.ndim), rounds_at_once(x_advs.shape)
        for start in range(0, steps, at_once):
            perturbed = ep.clip(x_advs + lengths * self._directions(x_advs, min(at_once, steps - start)), 0, 1)
            adversarial = is_adversarial(perturbed.reshape((-1, *x_advs.shape[1:])))
            signs = 2 * adversarial.reshape(perturbed.shape[:2]).astype(x_advs.dtype) - 1
            # one after the other, so that sums do not depend on how many go into one call
            for sign, probe in zip(signs, (perturbed - x_advs) / lengths, strict=True):
                weighted = weighted + atleast_kd(sign, probe.ndim) * probe
                plain, balance = plain + probe, balance + sign
        baseline = ep.where(ep.abs(balance) == steps, 0 * balance, balance / steps)
        gradients = weighted - atleast_kd(baseline, plain.ndim) * plain
        return gradients / (atleast_kd(ep.norms.l2(flatten(gradients), axis=-1), gradients.ndim) + 1e-12)

    def _directions(self, like: ep.Tensor, count: int) -> ep.Tensor:
        """Return random directions of length one, [count, N, ...] for points [N, ...]."""
        shape = (count, *like.shape)
        drawn = ep.normal(like, shape) if self.constraint == "l2" else ep.uniform(like, shape, -1.0, 1.0)
        return drawn / atleast_kd(ep.norms.l2(flatten(drawn, keep=2), axis=-1), drawn.ndim)

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
        least = self.smallest_probe * math.sqrt(math.prod(originals.shape[1:]))
        # Foolbox multiplies by scalars of double precision, which arrays would all take over
        return ep.maximum(super().select_delta(originals, distances, step).astype(originals.dtype), least)


class _Tiled(Criterion):
    """A criterion for `samples` inputs, asked about several rounds [R * N] of them in one call."""

    def __init__(self, criterion: Criterion, samples: int):
        self.criterion, self.samples = criterion, samples

    def __repr__(self) -> str:
        return repr(self.criterion)

    def __call__(self, perturbed: ep.Tensor, outputs: ep.Tensor) -> ep.Tensor:
        parts = [slice(start, start + self.samples) for start in range(0, len(outputs), self.samples)]
        return ep.concatenate([self.criterion(perturbed[part], outputs[part]) for part in parts], axis=0)


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
