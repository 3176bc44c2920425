"""FMN, the fast minimum-norm attack (Pintor et al. 2021, algorithm 1) (Foolbox)."""

from __future__ import annotations

import math

import eagerpy as ep
from foolbox.attacks import L1FMNAttack, L2FMNAttack, LInfFMNAttack
from foolbox.attacks.base import Attack
from foolbox.devutils import atleast_kd, flatten

ACCESS = "white_box"
BUDGETED = False
TINY = 1e-12
PAST = 1e-4  # as a share of the length: far above the rounding of float32, far below any distance that matters
STEP = 0.51 / 255  # changes an input of 8 bits


class L2FMN(L2FMNAttack):
    """Foolbox's attack with the projection of the paper: Foolbox's own leaves every point where it is."""

    def project(self, x: ep.Tensor, x0: ep.Tensor, epsilon: ep.Tensor) -> ep.Tensor:
        """Return `x` [N, ...], moved towards `x0` until at most `epsilon` [N] away from it."""
        lengths = ep.maximum(ep.norms.l2(flatten(x - x0), axis=-1), TINY)
        return x0 + (x - x0) * atleast_kd(ep.minimum(1, epsilon / lengths), x.ndim)


class _PastTheBoundary:
    """Goes a little past the length that the margin suggests.

    On a linear part of the network that length ends on the boundary itself. Where rounding then leaves the sample on
    the wrong side it stays there for ever, and the attack fails on just the samples that are nearest to the boundary.
    The scores of integer networks tie: a clean sample that is on the boundary has no margin, and the length 0. It gets
    that of one `STEP` of every value, of which there are `share(count)` in a length.
    """

    def project(self, x: ep.Tensor, x0: ep.Tensor, epsilon: ep.Tensor) -> ep.Tensor:
        shortest = STEP * self.share(math.prod(x.shape[1:]))
        return super().project(x=x, x0=x0, epsilon=ep.where(epsilon > 0, epsilon * (1 + PAST), shortest))


class L1FMNPast(_PastTheBoundary, L1FMNAttack):
    """The attack for the L1 distance."""

    share = float


class L2FMNPast(_PastTheBoundary, L2FMN):
    """The attack for the L2 distance."""

    share = math.sqrt


class LinfFMNPast(_PastTheBoundary, LInfFMNAttack):
    """The attack for the Linf distance."""

    @staticmethod
    def share(count: int) -> float:
        return 1.0


NORMS = {"linf": LinfFMNPast, "l2": L2FMNPast, "l1": L1FMNPast}


def build(norm: str, *, steps: int, step_size: float, gamma: float) -> Attack:
    """Return the attack; `step_size` is the first L2 length of a step, for inputs in [0, 1]."""
    return NORMS[norm](steps=steps, max_stepsize=step_size, gamma=gamma)
