"""Projected gradient descent on sound; like Carlini and Wagner (2018, arXiv 1801.01944), through the features.

The noise that is added to a clip is limited by the signal-to-noise ratio, and what is found is a real clip of 16 bits:
it can be heard, and a microphone could deliver it.
"""

from __future__ import annotations

from qnn_robustness.attacks.crafting.sound import SoundAttack

ACCESS = "white_box"
NORMS = ("snr",)
BUDGETED = True
OF_SOUND = True


def build(norm: str, *, steps: int, relative_step_size: float, restarts: int) -> SoundAttack:
    """Return the attack; its budgets are signal-to-noise ratios in dB."""
    del norm  # there is only one
    return SoundAttack(steps, relative_step_size, restarts)
