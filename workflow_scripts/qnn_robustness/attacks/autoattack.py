"""AutoAttack, the standard version (Croce and Hein 2020, section 5), for networks with four classes or more.

APGD on the cross-entropy, APGD on the targeted difference of logits ratio, targeted FAB and Square, one after the
other, each on the samples that the earlier ones have not fooled. Square follows the schedule for 10,000 queries however
few it may spend, as in the reference implementation of the authors.
"""

from __future__ import annotations

from foolbox.attacks.base import Attack

from qnn_robustness.attacks.apgd import APGD
from qnn_robustness.attacks.crafting import balls
from qnn_robustness.attacks.crafting.losses import FEWEST_CLASSES
from qnn_robustness.attacks.crafting.network import Network
from qnn_robustness.attacks.crafting.survivors import Outcome, SurvivorsAttack, Task, in_turn
from qnn_robustness.attacks.fab import FAB
from qnn_robustness.attacks.square import SCHEDULE, Square
from qnn_robustness.common.errors import UserError

ACCESS = "white_box"
NORMS = balls.NORMS
BUDGETED = True

ENOUGH_CLASSES = FEWEST_CLASSES["dlr_targeted"]
INITIAL_SHARE = 0.8  # of Square, as in the reference implementation of the authors


class AutoAttack(SurvivorsAttack):
    """Parts in turn, each on the survivors; a sample that survives all keeps the point of the first part."""

    def __init__(self, norm: str, parts: list[APGD | FAB | Square]):
        super().__init__(norm)
        self.parts = parts

    def check_classes(self, classes: int) -> None:
        check_classes(classes)

    def search(self, network: Network, task: Task, epsilon: float) -> Outcome:
        def stage(part: APGD | FAB | Square):
            return lambda network, task: part.search(network, task, epsilon)

        return in_turn(network, task, [stage(part) for part in self.parts])


def build(norm: str, *, steps: int, targets: int, queries: int) -> Attack:
    """Return the attack; `steps` and `targets` count for APGD and FAB, `queries` for Square."""
    parts = [
        APGD(norm, loss="ce", steps=steps),
        APGD(norm, loss="dlr_targeted", steps=steps, targets=targets),
        FAB(norm, steps=steps, targets=targets),
        Square(norm, queries=queries, initial_share=INITIAL_SHARE, schedule=SCHEDULE),
    ]
    return AutoAttack(norm, parts)


def check_classes(classes: int, **parameters: int) -> None:
    """Raise UserError for networks with too few classes."""
    if classes < ENOUGH_CLASSES:
        raise UserError(
            f"autoattack needs at least {ENOUGH_CLASSES} classes, the network has {classes}; use autoattack_few_classes"
        )
