"""Properties of the uint8 lattice."""

from __future__ import annotations

from itertools import product

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qnn_robustness.attacks.crafting.craft import Setting, craft
from qnn_robustness.attacks.crafting.lattice import (
    as_stored,
    on_lattice,
    repairs,
    smallest_on_lattice,
    within_budget,
)
from qnn_robustness.common import registry
from qnn_robustness.common.distances import distance

IMAGES = arrays(np.uint8, (3, 4, 4, 1))
FLOATS = arrays(np.float32, (3, 4, 4, 1), elements=st.floats(0, 1, width=32))


@given(IMAGES)
def test_8_bit_images_stay_as_they_are(images):
    np.testing.assert_array_equal(on_lattice((images / 255).astype(np.float32)), images)


@given(FLOATS, IMAGES, st.sampled_from(["linf", "l2", "l1"]), st.floats(0.004, 2))
def test_the_budget_holds_exactly(adversarial, clean, norm, budget):
    for result in repairs(adversarial, clean, norm, budget):
        assert result.dtype == np.uint8
        assert (distance(norm, result, clean) <= budget + 1e-9).all()


@given(FLOATS, IMAGES, st.integers(1, 20))
def test_linf_projection_is_the_nearest_image_in_the_ball(adversarial, clean, levels):
    result = next(repairs(adversarial, clean, "linf", levels / 255)).astype(int)
    expected = np.clip(np.rint(adversarial * 255).astype(int), clean.astype(int) - levels, clean.astype(int) + levels)
    np.testing.assert_array_equal(result, np.clip(expected, 0, 255))


def test_a_sample_inside_the_budget_is_only_rounded():
    clean = np.full((1, 4, 4, 1), 100, np.uint8)
    adversarial = (clean / 255 + 0.01).astype(np.float32)
    for result in repairs(adversarial, clean, "l2", 1.0):
        np.testing.assert_array_equal(result, on_lattice(adversarial))


@given(arrays(np.float64, 6, elements=st.floats(-2.4, 2.4)), st.sampled_from(["l1", "l2"]))
def test_no_image_that_is_rounded_with_fewer_changes_is_nearer(levels, norm):
    """The greedy choice against all choices of values to lower: at most the last value lowered is one too many."""
    clean = np.full((1, 6), 100, np.uint8)
    adversarial = (clean + levels) / 255
    wanted = np.rint(clean + levels).astype(int) - 100
    budget = np.linalg.norm(levels, 1 if norm == "l1" else 2) / 255
    result = next(repairs(adversarial, clean, norm, budget))[0].astype(int) - 100
    lowered = result != wanted
    choices = np.array(list(product([False, True], repeat=6)))
    candidates = wanted - np.sign(wanted) * choices
    inside = distance(norm, (candidates + 100).astype(np.uint8), np.tile(clean, (64, 1))) <= budget + 1e-9
    errors = ((candidates - levels) ** 2).sum(axis=1)
    last = ((np.abs(levels - wanted + np.sign(wanted)) ** 2 - (levels - wanted) ** 2) * lowered).max(initial=0)
    assert ((result - levels) ** 2).sum() <= errors[inside].min() + last + 1e-9


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_network_is_asked_about_what_the_budget_leaves_of_an_example(norm):
    clean = np.full((2, 4, 4, 3), 100, np.uint8)
    adversarial = (clean + 0.55) / 255  # all rounded up, and all rounded down when shortened as a whole
    budget = 0.55 / 255 * (48 if norm == "l1" else np.sqrt(48))

    def brighter(images: np.ndarray) -> np.ndarray:
        return images.reshape(2, -1).mean(axis=1) > 100.1

    first, second = repairs(adversarial, clean, norm, budget)
    assert brighter(first).all()
    assert not brighter(second).any()
    result, found = within_budget(adversarial, clean, norm, budget, brighter)
    assert found.all()
    np.testing.assert_array_equal(result, first)

    def as_shortened(images: np.ndarray) -> np.ndarray:
        return (images == second).reshape(2, -1).all(axis=1) & np.array([True, False])

    result, found = within_budget(adversarial, clean, norm, budget, as_shortened)
    assert found.tolist() == [True, False]
    np.testing.assert_array_equal(result, [second[0], first[1]])


def test_a_perturbation_lost_in_rounding_is_stretched_until_it_works():
    clean = np.full((2, 4, 4, 1), 100, np.uint8)
    adversarial = clean / 255 + np.array([0.3, 0.0]).reshape(2, 1, 1, 1) / 255  # the second has nothing to stretch

    def brighter(images: np.ndarray) -> np.ndarray:
        return images.reshape(2, -1).mean(axis=1) > 100

    result, found = smallest_on_lattice(adversarial.astype(np.float32), clean, brighter)
    assert found.tolist() == [True, False]
    assert (result[0] == 101).all()
    np.testing.assert_array_equal(result[1], clean[1])


@pytest.mark.parametrize(("levels", "needed", "repaired"), [(0.05, 1, True), (10, 35, True), (10, 60, False)])
def test_a_repair_is_no_new_search(levels: float, needed: int, repaired: bool):
    clean = np.full((1, 4, 4, 1), 100, np.uint8)
    adversarial = clean / 255 + levels / 255
    result, found = smallest_on_lattice(adversarial, clean, lambda images: images[:, 0, 0, 0] >= 100 + needed)
    assert found.tolist() == [repaired]
    assert (result >= 100 + needed).all() if repaired else (result == clean).all()


@pytest.mark.parametrize(("norm", "expected"), [("linf", 3 / 255), ("l2", 5 / 255), ("l1", 7 / 255), ("l0", 2)])
def test_distances_of_a_known_pair(norm, expected):
    clean = np.zeros((1, 2, 2, 1), np.uint8)
    other = clean.copy()
    other[0, 0, 0, 0], other[0, 1, 1, 0] = (3, 4) if norm != "linf" else (3, 2)
    assert distance(norm, other, clean) == pytest.approx([expected])
    assert distance(norm, (other / 255).astype(np.float32), clean) == pytest.approx([expected], rel=1e-6)


@given(FLOATS, IMAGES, st.sampled_from(["l2", "l1"]), st.floats(0.02, 2))
def test_what_a_search_is_shown_is_what_is_stored(points, clean, norm, budget):
    shown, inside = as_stored(points, clean, norm, budget), distance(norm, points, clean / 255) <= budget
    np.testing.assert_array_equal(shown[inside], next(repairs(points, clean, norm, budget))[inside])
    far = distance(norm, points, clean / 255) > budget + 1e-3
    np.testing.assert_array_equal(shown[far], on_lattice(points)[far])


SEARCHES = {
    "pgd": {"steps": 40, "relative_step_size": 0.1, "restarts": 3},
    "apgd": {"loss": "margin", "steps": 40, "restarts": 1, "targets": 1},
    "autoattack_few_classes": {"steps": 40, "queries": 2},
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_goes_on_until_its_example_survives_the_lattice(name: str) -> None:
    """Two classes, whose boundary lies at known distances from 40 images of 768 values.

    Rounding lengthens a perturbation of 0.15 to about 0.153: searches that stop when the rounded point is misclassified
    lose every example whose boundary they have only just crossed.
    """
    draws, budget = np.random.default_rng(0), 0.15
    images = draws.integers(60, 196, (40, 16, 16, 3), dtype=np.uint8)
    normal = draws.normal(size=768)
    normal /= np.linalg.norm(normal)
    exact = np.linspace(0.5, 1.2, 40) * budget
    offsets = (images.reshape(40, -1) / 255) @ normal + exact  # logits of sample i: 0 and what is past its own boundary
    features = tf.constant(images.reshape(40, -1) / np.float32(255))

    def logits(inputs: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(inputs + tf.stop_gradient(tf.round(inputs * 255) / 255 - inputs), (-1, 768))
        own = tf.argmin(tf.reduce_sum((flat[:, None] - features[None]) ** 2, axis=2), axis=1)
        past = (
            flat @ tf.constant(normal[:, None], tf.float32) - tf.gather(tf.constant(offsets, tf.float32), own)[:, None]
        )
        return 100 * tf.concat([tf.zeros_like(past), past], axis=1)

    method = registry.load("attacks", name)
    setting = Setting(method, "l2", [budget], [0], True, 40, parameters=SEARCHES[name])
    crafted = craft(setting, foolbox.TensorFlowModel(logits, bounds=(0, 1)), images, np.zeros(40, np.int64))
    found = crafted.found[0, 0]
    assert found[exact < 0.96 * budget].all()
    assert not found[exact > budget].any()
    assert (distance("l2", crafted.adversarial[0, 0], images) <= budget + 1e-9).all()
