"""Attacks on clips of sound instead of on their features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from foolbox.models import Model

from qnn_robustness.attacks.crafting.craft import Crafted, Setting
from qnn_robustness.attacks.crafting.lattice import whole_levels
from qnn_robustness.common.progress import progress
from qnn_robustness.common.scores import predicted
from qnn_robustness.data.audio.mfcc import features_of
from qnn_robustness.data.splits import Sound

LOUDEST = 32_767  # of 16 bits
TINY = 1e-30


@dataclass(frozen=True)
class SoundAttack:
    """Steps of normalised gradients of the cross-entropy within a ball of noise around each clip.

    `relative_step_size` is the length of a step as a share of the largest noise. Each of `restarts` runs starts from
    random noise, the first from the clip itself; a clip is left alone once it is misclassified.
    """

    steps: int
    relative_step_size: float
    restarts: int


def craft_sound(
    setting: Setting, model: Model, sound: Sound, labels: np.ndarray, streams: np.ndarray
) -> tuple[Crafted, np.ndarray]:
    """Attack clips (int16 [N, 16000]) with labels [N] for every seed and signal-to-noise ratio in dB.

    `model` takes the clips' features as samples of the data set. Returns these of the adversarial clips, and the clips,
    int16 [S, E, N, 16000], whose noise keeps the ratio exactly. A failure is the last point of the last run. `streams`
    [N] number the random streams.
    """
    attack = setting.method.build(setting.norm, **setting.parameters)
    shape = (len(setting.seeds), len(setting.budgets), len(labels))
    clips = np.empty((*shape, sound.clips.shape[1]), np.int16)
    found, queries = np.zeros(shape, bool), np.zeros(shape, np.int64)
    rows = [np.arange(i, min(i + setting.batch_size, len(labels))) for i in range(0, len(labels), setting.batch_size)]
    runs = [(s, e, row) for s in range(shape[0]) for e in range(shape[1]) for row in rows]
    gradient = _gradient(model, sound.feature_range)
    for s, e, row in progress(runs, "crafting sound", unit="block"):
        ratio, block = setting.budgets[e], sound.clips[row]
        for restart in range(attack.restarts):
            active = np.flatnonzero(~found[s, e, row])
            if not len(active):
                break
            start = _noise(block[active], ratio, setting.seeds[s], restart, streams[row][active])
            made, asked = _descend(attack, gradient, block[active], labels[row][active], ratio, start)
            clips[s, e, row[active]] = made
            fooled = _misclassified(model, made, labels[row][active], sound.feature_range)
            found[s, e, row[active]] = fooled
            queries[s, e, row[active]] += setting.runs * (asked + 1)  # and the look at the clip that was made
    features = features_of(clips.reshape(-1, clips.shape[-1]), sound.feature_range)
    return Crafted(features.reshape(*shape, *features.shape[1:]), found, queries), clips


def largest_noise(clips: np.ndarray, ratio: float) -> np.ndarray:
    """Return the L2 length, float64 [N], of noise with a signal-to-noise ratio in dB to clips [N, time]."""
    return np.linalg.norm(clips.astype(np.float64), axis=1) * 10 ** (-ratio / 20)


def _noise(clips: np.ndarray, ratio: float, seed: int, restart: int, streams: np.ndarray) -> np.ndarray:
    """Return the noise a run starts from: none in the first one, else of a random direction and length."""
    if restart == 0:
        return np.zeros(clips.shape)
    generators = [np.random.default_rng([seed, restart, int(stream)]) for stream in streams]
    directions = np.stack([generator.normal(size=clips.shape[1]) for generator in generators])
    lengths = np.array([generator.uniform() for generator in generators]) * largest_noise(clips, ratio)
    return directions * (lengths / np.linalg.norm(directions, axis=1))[:, None]


def _descend(
    attack: SoundAttack, gradient: Any, clips: np.ndarray, labels: np.ndarray, ratio: float, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the clips where each run ended, int16, and how many queries it took."""
    limit = largest_noise(clips, ratio)[:, None]
    result, queries = _rounded(clips, noise, limit), np.zeros(len(clips), np.int64)
    left = np.arange(len(clips))
    for _ in range(attack.steps + 1):
        result[left] = _rounded(clips[left], noise[left], limit[left])
        logits, slope = gradient(result[left].astype(np.float32), labels[left])
        queries[left] += 1
        going = predicted(logits) == labels[left]
        left, slope = left[going], slope[going].astype(np.float64)
        if not len(left):
            break
        length = np.linalg.norm(slope, axis=1, keepdims=True)
        moved = noise[left] + attack.relative_step_size * limit[left] * slope / np.maximum(length, TINY)
        noise[left] = moved * np.minimum(
            1, limit[left] / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), TINY)
        )
    return result, queries


def _rounded(clips: np.ndarray, noise: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Return clips with noise as 16-bit sound: in whole levels, and within the limit as before."""
    return np.clip(clips + whole_levels(noise, "l2", limit), -LOUDEST - 1, LOUDEST).astype(np.int16)


def _gradient(model: Model, feature_range: tuple[float, float]) -> Any:
    """Return a function from clips (float32 [N, 16000]) and labels to logits and the gradient of their loss."""
    import tensorflow as tf

    from qnn_robustness.data.audio.differentiable import features

    def gradient(clips: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = tf.convert_to_tensor(clips)
        with tf.GradientTape() as tape:
            tape.watch(points)
            logits = model(features(points, feature_range))
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return logits.numpy(), tape.gradient(loss, points).numpy()

    return gradient


def _misclassified(
    model: Model, clips: np.ndarray, labels: np.ndarray, feature_range: tuple[float, float]
) -> np.ndarray:
    """Return which clips are misclassified by their features as evaluation takes them."""
    import tensorflow as tf

    logits = model(tf.convert_to_tensor(features_of(clips, feature_range)))
    return predicted(np.asarray(logits)) != labels
