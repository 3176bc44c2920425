"""What is measured on adversarial sound itself."""

from __future__ import annotations

import numpy as np

from qnn_robustness.common.distances import signal_to_noise
from qnn_robustness.common.errors import UserError
from qnn_robustness.data.audio.mfcc import features_of
from qnn_robustness.data.splits import Sound


def checked_ratio(crafted: dict[str, np.ndarray], sound: Sound) -> np.ndarray:
    """Return the signal-to-noise ratio in dB, float64 [S, E, N], of the clips of a crafting job to those of the split.

    Raises UserError when the samples that are evaluated are not the features of these clips.
    """
    adversarial, shape = crafted["sound"], crafted["sound"].shape
    features = features_of(adversarial.reshape(-1, shape[-1]), sound.feature_range)
    if not np.array_equal(features.reshape(crafted["adversarial"].shape), crafted["adversarial"]):
        raise UserError("the stored adversarial features are not those of the stored sound; craft them again")
    clean = np.broadcast_to(sound.clips[crafted["samples"]], shape)
    return signal_to_noise(clean.reshape(-1, shape[-1]), adversarial.reshape(-1, shape[-1])).reshape(shape[:-1])
