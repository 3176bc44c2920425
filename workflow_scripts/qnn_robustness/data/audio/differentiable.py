"""The features of `mfcc` in TensorFlow, with gradients to the sound."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from scipy.fft import dct

from qnn_robustness.data.audio.mfcc import (
    BANDS,
    COEFFICIENTS,
    FLOOR,
    FOURIER,
    STRIDE,
    WINDOW,
    hann_window,
    mel_weights,
)


def features(clips: tf.Tensor, feature_range: tuple[float, float]) -> tf.Tensor:
    """Return the samples of a data set, float32 [N, 49, 10, 1] in [0, 1], of clips float32 [N, 16000].

    They equal those of `mfcc.features_of` up to rounding. The gradient passes the division by the largest value too.
    """
    peak = tf.reduce_max(clips, axis=1, keepdims=True)
    sound = tf.where(peak > 0, clips / tf.where(peak > 0, peak, 1.0), clips)
    frames = tf.signal.frame(sound, WINDOW, STRIDE) * hann_window().astype(np.float32)
    magnitudes = tf.abs(tf.signal.rfft(frames, [FOURIER]))
    logarithms = tf.math.log(magnitudes @ mel_weights().astype(np.float32) + FLOOR)
    cosines = dct(np.eye(BANDS), type=2, axis=-1)[:, :COEFFICIENTS] / np.sqrt(2 * BANDS)
    coefficients = logarithms @ cosines.astype(np.float32)
    low, high = feature_range
    return tf.clip_by_value((coefficients - low) / (high - low), 0.0, 1.0)[..., None]
