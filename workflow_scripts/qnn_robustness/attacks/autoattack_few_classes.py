"""AutoAttack for networks with two or three classes, for which the targeted difference of logits ratio is not defined.

APGD on the cross-entropy, APGD on the margin, untargeted FAB and Square, one after the other, each on the samples that
the earlier ones have not fooled. Not the standard version, hence the name of its own.
"""

from __future__ import annotations

from foolbox.attacks.base import Attack

from qnn_robustness.attacks.apgd import APGD
from qnn_robustness.attacks.autoattack import ENOUGH_CLASSES, INITIAL_SHARE, AutoAttack
from qnn_robustness.attacks.crafting import balls
from qnn_robustness.attacks.fab import FAB
from qnn_robustness.attacks.square import SCHEDULE, Square
from qnn_robustness.common.errors import UserError

ACCESS = "white_box"
NORMS = balls.NORMS
BUDGETED = True


class AutoAttackFewClasses(AutoAttack):
    def check_classes(self, classes: int) -> None:
        check_classes(classes)


def build(norm: str, *, steps: int, queries: int) -> Attack:
    """Return the attack; `steps` counts for APGD and FAB, `queries` for Square."""
    parts = [
        APGD(norm, loss="ce", steps=steps),
        APGD(norm, loss="margin", steps=steps),
        FAB(norm, steps=steps, targets=0),
        Square(norm, queries=queries, initial_share=INITIAL_SHARE, schedule=SCHEDULE),
    ]
    return AutoAttackFewClasses(norm, parts)


def check_classes(classes: int, **parameters: int) -> None:
    """Raise UserError for networks that the standard version is defined for."""
    if classes >= ENOUGH_CLASSES:
        raise UserError(
            f"autoattack_few_classes is for fewer than {ENOUGH_CLASSES} classes, the network has {classes}; "
            "use autoattack"
        )
