"""Mel-frequency cepstral coefficients (MFCC) as MLPerf Tiny (Banbury et al. 2021) defines them for keyword spotting.

One second of sound at 16 kHz becomes 49 frames of 10 coefficients: windows of 30 ms every 20 ms under a periodic Hann
window, magnitudes of a 512-point Fourier transform, 40 triangular bands between 20 Hz and 4 kHz on HTK's mel scale, the
logarithm, and a type-II cosine transform scaled as in HTK. The sound is divided by its largest value before.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import dct

from qnn_robustness.data.splits import to_range

RATE = 16_000  # samples a second
WINDOW, STRIDE = 480, 320  # samples: 30 ms and 20 ms
FRAMES, COEFFICIENTS = 49, 10
FOURIER = 512
BANDS = 40
LOWEST, HIGHEST = 20.0, 4000.0  # Hz
FLOOR = 1e-6  # added to a band before the logarithm


def first_second(sound: np.ndarray) -> np.ndarray:
    """Return the first second of a clip [N] in its own type, [16000]; a short one ends in zeros."""
    clip = np.zeros(RATE, sound.dtype)
    clip[: min(len(sound), RATE)] = sound[:RATE]
    return clip


def one_second(sound: np.ndarray) -> np.ndarray:
    """Return the first second of a clip [N] divided by its largest value, float64 [16000]; a short one ends in zeros.

    A clip without a value above zero is left as it is.
    """
    clip = first_second(sound).astype(np.float64)
    peak = clip.max()
    return clip / peak if peak > 0 else clip


def features_of(clips: np.ndarray, feature_range: tuple[float, float], block: int = 256) -> np.ndarray:
    """Return the samples of a data set, float32 [N, 49, 10, 1] in [0, 1], of clips int16 [N, 16000]."""
    parts = [clips[start : start + block] for start in range(0, len(clips), block)]
    features = [mfcc(np.stack([one_second(clip) for clip in part])) for part in parts]
    return to_range(np.concatenate(features), feature_range)


def mfcc(waveforms: np.ndarray) -> np.ndarray:
    """Return the coefficients, float32 [N, 49, 10, 1], of `waveforms` [N, 16000] as `one_second` gives them."""
    frames = np.lib.stride_tricks.sliding_window_view(waveforms, WINDOW, axis=1)[:, ::STRIDE]
    magnitudes = np.abs(np.fft.rfft(frames * hann_window(), FOURIER))
    logarithms = np.log(magnitudes @ mel_weights() + FLOOR)
    coefficients = dct(logarithms, type=2, axis=-1)[..., :COEFFICIENTS] / np.sqrt(2 * BANDS)
    return coefficients.astype(np.float32)[..., None]


def hann_window() -> np.ndarray:
    """Return the periodic Hann window, float64 [480]."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


def mel_weights() -> np.ndarray:
    """Return the share of each Fourier bin in each band, float64 [257, 40]: triangles of height 1 on the mel scale.

    The bin of frequency zero belongs to no band.
    """
    edges = np.linspace(_mel(LOWEST), _mel(HIGHEST), BANDS + 2)
    bins = _mel(np.arange(FOURIER // 2 + 1) * RATE / FOURIER)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling))
    weights[0] = 0
    return weights


def _mel(hertz):
    return 1127 * np.log1p(np.asarray(hertz) / 700)
