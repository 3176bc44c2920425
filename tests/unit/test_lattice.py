"""Properties of the uint8 lattice."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qnn_robustness.attacks.crafting.lattice import on_lattice, repairs, smallest_on_lattice, within_budget
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
