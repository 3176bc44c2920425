"""Attacks on sound: gradients through the features, noise within its ratio, and 16-bit clips as the result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qnn_robustness.attacks import sound_pgd
from qnn_robustness.attacks.crafting.craft import Setting
from qnn_robustness.attacks.crafting.lattice import whole_levels
from qnn_robustness.attacks.crafting.sound import craft_sound, largest_noise
from qnn_robustness.common.distances import signal_to_noise
from qnn_robustness.common.errors import UserError
from qnn_robustness.data.audio.mfcc import RATE, features_of, mfcc
from qnn_robustness.data.splits import Sound
from qnn_robustness.evaluation.sound import checked_ratio

RANGE = (-130.0, 40.0)


def clips_of(count: int) -> np.ndarray:
    """Tones of different pitch in noise; the last is silent, the one before it ends in zeros."""
    random = np.random.default_rng(0)
    seconds = np.arange(RATE) / RATE
    tones = [6000 * np.sin(2 * np.pi * hertz * seconds) for hertz in random.uniform(200, 3000, count)]
    clips = (np.stack(tones) + random.normal(0, 2000, (count, RATE))).astype(np.int16)
    clips[-1] = 0
    clips[-2, RATE // 2 :] = 0
    return clips


@pytest.fixture(scope="module")
def sound() -> Sound:
    return Sound(clips_of(6), RANGE)


@pytest.fixture(scope="module")
def model(sound):
    """A linear network of two classes, half of the clips in each."""
    import foolbox
    import tensorflow as tf

    weights = np.random.default_rng(1).normal(size=(490, 1)).astype(np.float32)
    offset = np.median(features_of(sound.clips, RANGE).reshape(6, -1) @ weights)

    def logits(inputs):
        margin = tf.reshape(inputs, (-1, 490)) @ weights - offset
        return tf.concat([-margin, margin], axis=1) * 5

    return foolbox.TensorFlowModel(logits, (0, 1))


def setting(batch_size: int = 6, **changes) -> Setting:
    parameters = {"steps": 15, "relative_step_size": 0.2, "restarts": 2} | changes
    return Setting(sound_pgd, "snr", [60, 15], [0], False, batch_size, parameters=parameters)


@pytest.fixture(scope="module")
def labels(sound, model) -> np.ndarray:
    return np.asarray(model(features_of(sound.clips, RANGE))).argmax(axis=1)


@pytest.fixture(scope="module")
def crafted(sound, model, labels):
    return craft_sound(setting(), model, sound, labels, np.arange(6))


def test_features_in_tensorflow_are_those_of_the_data_set(sound):
    from qnn_robustness.data.audio.differentiable import features

    found = features(sound.clips.astype(np.float32), RANGE)
    np.testing.assert_allclose(found, features_of(sound.clips, RANGE), atol=2e-5)


def test_the_gradient_is_the_derivative_of_the_features_along_random_directions(sound):
    import tensorflow as tf

    from qnn_robustness.data.audio.differentiable import features

    random = np.random.default_rng(2)
    weights = random.normal(size=(49, 10, 1))
    points = tf.constant(sound.clips[:4].astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(points)
        total = tf.reduce_sum(features(points, RANGE) * weights.astype(np.float32))
    slope = tape.gradient(total, points).numpy().astype(np.float64)

    def exact(clip: np.ndarray) -> float:  # in float64, without rounding to 16 bits
        coefficients = mfcc((clip / clip.max())[None])[0].astype(np.float64)
        return float((coefficients * weights).sum() / (RANGE[1] - RANGE[0]))

    for clip, derivative in zip(sound.clips[:4].astype(np.float64), slope, strict=True):
        direction = random.normal(size=RATE)
        direction[clip.argmax()] = 0  # the largest value divides all others
        step = 0.5
        difference = (exact(clip + step * direction) - exact(clip - step * direction)) / (2 * step)
        assert derivative @ direction == pytest.approx(difference, rel=0.05, abs=1e-3)
    assert np.isfinite(slope).all()


def test_noise_keeps_its_ratio_and_more_of_it_fools_more(sound, model, labels, crafted):
    result, clips = crafted
    assert clips.dtype == np.int16
    assert result.adversarial.shape == (1, 2, 6, 49, 10, 1)
    for e, ratio in enumerate((60, 15)):
        assert (signal_to_noise(sound.clips, clips[0, e]) >= ratio).all()
        predictions = np.asarray(model(features_of(clips[0, e], RANGE))).argmax(axis=1)
        np.testing.assert_array_equal(predictions != labels, result.found[0, e])
    assert result.found[0, 1].sum() > result.found[0, 0].sum()
    np.testing.assert_array_equal(clips[:, :, -1], 0, "silence has no noise to a ratio")


def test_a_failure_uses_nearly_all_of_the_noise_allowed(sound, crafted):
    result, clips = crafted
    failed = np.flatnonzero(~result.found[0, 0][:-1])
    assert len(failed)
    noise = np.linalg.norm(clips[0, 0][failed].astype(float) - sound.clips[failed], axis=1)
    limit = largest_noise(sound.clips[failed], 60)
    assert (noise > 0.9 * limit).all(), "whole levels take the rest"


@pytest.mark.parametrize("length", [2.0, 60.0, 5000.0])
def test_noise_of_a_level_or_less_is_not_lost_in_rounding(length):
    """Noise of 16,000 values and length 60 has half a level each: cut towards zero, nothing would be left of it."""
    wanted = np.random.default_rng(0).normal(size=(3, RATE))
    wanted *= length / np.linalg.norm(wanted, axis=1, keepdims=True)
    levels = whole_levels(wanted, "l2", np.full((3, 1), length))
    kept = np.linalg.norm(levels, axis=1)
    assert (kept <= length).all()
    assert length < 10 or (kept > 0.6 * length).all()
    assert ((levels == 0) | (np.sign(levels) == np.sign(wanted))).all()


def test_a_clip_that_is_done_is_asked_about_no_more(sound, model, labels):
    wrong = np.where(np.arange(6) < 3, 1 - labels, labels)
    made, clips = craft_sound(setting(), model, sound, wrong, np.arange(6))
    assert (made.queries[:, :, :3] == 2).all(), "one where it begins, one where it ends"
    np.testing.assert_array_equal(clips[:, :, :3], np.broadcast_to(sound.clips[:3], clips[:, :, :3].shape))
    assert (made.queries[:, :, 3:] > 2).all()


def test_a_look_at_a_network_and_its_squeezed_input_is_two_queries(sound, model, labels, crafted):
    twice, _ = craft_sound(replace(setting(), runs=2), model, sound, labels, np.arange(6))
    np.testing.assert_array_equal(twice.queries, 2 * crafted[0].queries)


def test_a_clip_does_not_depend_on_its_batch(sound, model, labels, crafted):
    result, clips = crafted
    parts, other = craft_sound(setting(batch_size=4), model, sound, labels, np.arange(6))
    np.testing.assert_array_equal(parts.found, result.found)
    # the order of sums in a batch may move a value across a level
    assert np.abs(other.astype(int) - clips).max() <= 2


def test_what_is_evaluated_are_the_features_of_the_stored_sound(sound, crafted):
    result, clips = crafted
    stored = {"sound": clips, "adversarial": result.adversarial, "samples": np.arange(6)}
    ratios = checked_ratio(stored, sound)
    assert ratios.shape == (1, 2, 6)
    assert np.isinf(ratios[..., -1]).all()
    with pytest.raises(UserError, match="not those of the stored sound"):
        checked_ratio({**stored, "adversarial": result.adversarial + np.float32(1e-6)}, sound)


def test_the_ratio_is_that_of_powers():
    clips = np.array([[100, -100, 100, 0]], np.int16)
    assert signal_to_noise(clips, clips + np.int16([[10, 10, -10, 0]]))[0] == pytest.approx(20)
    assert signal_to_noise(clips, clips)[0] == np.inf
    assert largest_noise(clips, 20)[0] == pytest.approx(np.sqrt(300))


def test_the_page_plays_the_stored_clips(sound, crafted, labels):
    import base64
    import re

    from qnn_robustness.data.audio.wav import read_wav
    from qnn_robustness.evaluation.sound_page import page, section

    result, clips = crafted
    stored = {"sound": clips, "adversarial": result.adversarial, "found": result.found}
    stored |= {"samples": np.arange(6), "budgets": np.array([60.0, 15.0])}
    correct = np.array([False, *[True] * 5])
    text = page({"a <network>": section(stored, sound, labels, ["<yes>", "no"], correct)})
    assert "a &lt;network&gt;" in text
    assert "<yes>" not in text
    heard = [base64.b64decode(content) for content in re.findall(r"base64,([^\"]*)", text)]
    heard = [read_wav(content, RATE) for content in heard]
    shown = [(e, place) for e in (0, 1) for place in np.flatnonzero(result.found[0, e] & correct)[:3]]
    assert len(heard) == 2 * len(shown) > 0
    for (e, place), clean, adversarial in zip(shown, heard[::2], heard[1::2], strict=True):
        np.testing.assert_array_equal(clean, sound.clips[place])
        np.testing.assert_array_equal(adversarial, clips[0, e, place])
