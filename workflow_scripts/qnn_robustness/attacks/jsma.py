"""The Jacobian-based saliency map attack (Papernot et al. 2016, algorithm 3), over pairs of input values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.attacks.base import Attack
from foolbox.distances import l0

from qnn_robustness.attacks.crafting import losses
from qnn_robustness.attacks.crafting.array_attack import ArrayAttack
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.network import Network
from qnn_robustness.common.errors import UserError

ACCESS = "white_box"
NORMS = ("l0",)
BUDGETED = False
HALF_LEVEL = 0.5 / 255
PAIRS = 2**24  # candidate pairs in memory at once
ROUNDING = 1e-4  # by which the sum of probabilities may miss one


@dataclass(kw_only=True, repr=False, eq=False)
class JSMA(ArrayAttack):
    """Changes the two most salient input values by `theta` again and again until the goal is reached.

    The paper defines the attack towards a target class t: the pair maximises -(sum dF_t)(sum of the other
    dF_j) with the first sum helping t and the second one hurting the rest (equation 8 for a pair). `outputs` says
    what F is: the paper defines it with the class probabilities and takes the logits in its experiments, because
    probabilities of confident networks do not change. Here the derivatives are those of the log-odds of t, which are
    the probabilities' up to a factor, and do. They add up to zero over the classes: what helps t hurts the rest, and
    the map looks for the class that is in the way, where that of the logits weighs all classes alike.

    A value leaves the search at the end of its range, or where rounding swallows `theta`. A sample gives up when no
    pair qualifies or `largest_share` of its values have been changed. A value that is changed again counts once if
    `counted` is `values`, and each time, as in the published limit on the number of steps, if it is `changes`.

    For mere misclassification, `aim` says which map is used: `random` aims at one random class and goes on
    until that is predicted (the usual evaluation protocol), `all` aims at each other class in turn, stops at
    any misclassification and keeps the fewest changed values, `none` lowers the label's own logit (Wiyatno
    and Xu 2018, section III).

    The map needs no full Jacobian: the gradient of the log-odds suffices, one query a step whatever the number of
    classes; for the logits those of Z_t and of the sum of all, two queries.
    """

    distance = l0

    theta: float
    largest_share: float
    aim: str
    outputs: str = "probabilities"
    counted: str = "values"

    def search(self, network: Network, clean: np.ndarray, goal: Goal) -> np.ndarray:
        """Return the perturbed inputs; those of a failure are where the search ended."""
        if goal.targeted or self.aim == "none":
            return self._change_pairs(network, clean, goal, goal)
        if self.aim == "random":
            target = Goal(_random_others(goal.classes, self._classes(network, clean), network.like), True)
            return self._change_pairs(network, clean, target, target)
        return self._best_target(network, clean, goal)

    @staticmethod
    def _classes(network: Network, clean: np.ndarray) -> int:
        return network.logits(clean).shape[1]

    def _best_target(self, network: Network, clean: np.ndarray, goal: Goal) -> np.ndarray:
        """Return each sample's misclassified result with the fewest changed values over all targets."""
        result, fewest = clean.copy(), np.full(len(clean), np.inf)
        classes = self._classes(network, clean)
        for step in range(1, classes):
            aim = Goal((goal.classes + step) % classes, True)
            found = self._change_pairs(network, clean, goal, aim)
            changed = (found != clean).reshape(len(clean), -1).sum(axis=1)
            better = goal.reached(network.logits(found)) & (changed < fewest)
            result[better], fewest[better] = found[better], changed[better]
        return result

    def _change_pairs(self, network: Network, clean: np.ndarray, goal: Goal, aim: Goal) -> np.ndarray:
        """Change pairs that favour `aim` until `goal` is reached."""
        result = clean.copy()
        values, before = result.reshape(len(result), -1), clean.reshape(len(clean), -1)
        most = values.shape[1] * self.largest_share
        sign = np.sign(self.theta) * (1.0 if aim.targeted else -1.0)
        gradients = _of_log_odds if self.outputs == "probabilities" else _of_logits
        active, steps = np.arange(len(clean)), 0
        while len(active) and (self.counted == "values" or 2 * (steps + 1) <= most):
            with network.only(active):
                logits, wanted, others = gradients(network, result[active], aim.only(active))
            moved = self._moved(values[active])
            pairs, qualified = best_pairs(sign * wanted, -sign * others, moved != values[active])
            changed = values[active] != before[active]
            changed[np.arange(len(active))[:, None], pairs] = True
            within = (self.counted == "changes") | (changed.sum(axis=1) <= most)
            kept = ~goal.only(active).reached(logits) & qualified & within
            active, pairs = active[kept], pairs[kept]
            values[active[:, None], pairs] = np.take_along_axis(moved[kept], pairs, axis=1)
            steps += 1
        return result

    def _moved(self, values: np.ndarray) -> np.ndarray:
        return np.clip(values + np.float32(self.theta), 0.0, 1.0)


def _of_log_odds(network: Network, inputs: np.ndarray, aim: Goal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits [N, K] and the gradients [N, D] of the log-odds of the aim's class and of its absence, scaled.

    The outputs of a network that ends in a softmax are the probabilities themselves: the odds rise with one alone.
    """

    def slopes(logits: np.ndarray) -> np.ndarray:
        odds = -losses.cross_entropy(logits, aim.classes, aim.classes)[1]
        return np.where(_are_probabilities(logits)[:, None], np.eye(logits.shape[1])[aim.classes], odds)

    logits, gradient = network.slope(inputs, slopes)
    own = gradient.reshape(len(inputs), -1).astype(np.float64)
    return logits, own, -own


def _are_probabilities(outputs: np.ndarray) -> np.ndarray:
    """Return which rows of [N, K] are at least 0 and add up to 1."""
    return (outputs >= 0).all(axis=1) & (np.abs(outputs.sum(axis=1) - 1) <= ROUNDING)


def _of_logits(network: Network, inputs: np.ndarray, aim: Goal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits [N, K] and the gradients [N, D] of the aim's logit and of the sum of the others."""
    count = len(inputs)

    def slopes(logits: np.ndarray) -> np.ndarray:
        return np.concatenate([np.eye(logits.shape[1])[aim.classes], np.ones_like(logits[count:])])

    logits, gradient = network.slope(np.concatenate([inputs, inputs]), slopes)
    own, total = gradient.reshape(2, count, -1).astype(np.float64)
    return logits[:count], own, total - own


def best_pairs(gains: np.ndarray, losses: np.ndarray, is_open: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pair of values (int64 [N, 2]) that maximises the product of its summed gains and losses.

    `gains` and `losses` [N, D]: both sums of an admissible pair are positive, both values are open. The
    second result tells which samples have an admissible pair.

    A value with larger gain and larger loss can replace another one in any pair, so the best pair lies among
    the values that at most one other surpasses in both: a handful of D, found by sorting those which two good
    values do not surpass already.
    """
    gains, losses = np.where(is_open, gains, -np.inf), np.where(is_open, losses, -np.inf)
    places = _places(~_surpassed(gains, losses))
    gains, losses = _at(gains, places), _at(losses, places)
    order = np.argsort(-gains, axis=1, kind="stable")
    sorted_losses = np.take_along_axis(losses, order, axis=1)
    first = np.maximum.accumulate(sorted_losses, axis=1)
    second = np.maximum.accumulate(np.minimum(sorted_losses, _shifted(first)), axis=1)
    best_places = _places(sorted_losses > _shifted(second))
    chosen = np.where(best_places < 0, -1, np.take_along_axis(order, best_places, axis=1))
    gains, losses, chosen = _at(gains, chosen), _at(losses, chosen), np.take_along_axis(places, chosen, axis=1)
    groups = np.array_split(np.arange(len(gains)), -(-len(gains) * chosen.shape[1] ** 2 // PAIRS) or 1)
    parts = [_best_of_candidates(gains[group], losses[group]) for group in groups]
    positions, best = (np.concatenate(part) for part in zip(*parts, strict=True))
    return np.sort(np.take_along_axis(chosen, positions, axis=1), axis=1), best > 0


def _surpassed(gains: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return which values [N, D] both of the two whose lesser of gain and loss is largest surpass in both."""
    rows, lesser = np.arange(len(gains)), np.minimum(gains, losses)
    first = lesser.argmax(axis=1)
    lesser[rows, first] = -np.inf
    two = rows[:, None], np.stack([first, lesser.argmax(axis=1)], axis=1)
    return (gains < gains[two].min(axis=1, keepdims=True)) & (losses < losses[two].min(axis=1, keepdims=True))


def _places(mask: np.ndarray) -> np.ndarray:
    """Return where each row of [N, D] is true, in order, int64 [N, 2 or more]; -1 in the places that are left."""
    counts, (rows, columns) = mask.sum(axis=1), np.nonzero(mask)
    result = np.full((len(mask), max(2, counts.max(initial=0))), -1)
    result[rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)] = columns
    return result


def _at(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the values [N, D] at the places [N, R], minus infinity at those that are -1."""
    return np.where(places < 0, -np.inf, np.take_along_axis(values, places, axis=1))


def _best_of_candidates(gains: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions [N, 2] of the best pair and its product [N]; 0 where no pair is admissible."""
    gain = gains[:, :, None] + gains[:, None, :]
    loss = losses[:, :, None] + losses[:, None, :]
    width = gains.shape[1]
    admissible = (gain > 0) & (loss > 0) & np.triu(np.ones((width, width), bool), 1)
    products = np.multiply(gain, loss, out=np.zeros_like(gain), where=admissible).reshape(len(gains), -1)
    best = products.argmax(axis=1)
    return np.stack(np.divmod(best, width), axis=1), np.take_along_axis(products, best[:, None], axis=1)[:, 0]


def _shifted(values: np.ndarray) -> np.ndarray:
    """Return the values moved one place to the right, with nothing (-inf) in front."""
    return np.concatenate([np.full((len(values), 1), -np.inf), values[:, :-1]], axis=1)


def _random_others(labels: np.ndarray, classes: int, like: ep.Tensor) -> np.ndarray:
    """Return a random class other than the label for each sample; one uniform draw a sample decides."""
    draws = ep.uniform(like, like.shape, 0.0, 1.0).numpy().reshape(len(labels), -1)[:, 0]
    steps = 1 + np.minimum((draws * (classes - 1)).astype(np.int64), classes - 2)
    return (labels + steps) % classes


def build(norm: str, **parameters: Any) -> Attack:
    """Return the attack; `theta` is the change of a value (negative: darker), for inputs in [0, 1]."""
    return JSMA(**parameters)


def check_parameters(lattice: str, *, theta: float, **parameters: Any) -> None:
    """Raise UserError if a step is less than half a level of the lattice, so that rounding undoes the first."""
    if lattice == "uint8" and abs(theta) < HALF_LEVEL:
        raise UserError(
            f"theta: {theta:g} is less than half an 8-bit level (0.5/255); take a larger change or set lattice: float"
        )
