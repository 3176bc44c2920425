"""Networks whose gradient is not a number, where attacks fail and return an image, or whose scores are none."""

from __future__ import annotations

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from attack_models import linear

from qnn_robustness.attacks import apgd, deepfool, fgsm, mi_fgsm, pgd
from qnn_robustness.attacks.crafting.craft import Setting, craft
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.queries import QueryCounter

ATTACKS = {
    "fgsm": (fgsm, dict(random_start=False), [0.1]),
    "mi_fgsm": (mi_fgsm, dict(steps=3, relative_step_size=0.5, momentum=1.0), [0.1]),
    "pgd": (pgd, dict(steps=3, relative_step_size=0.5, restarts=2), [0.1]),
    "apgd": (apgd, dict(loss="ce", steps=3, restarts=1, targets=1), [0.1]),
    "deepfool": (deepfool, dict(steps=3, overshoot=0.02), []),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_gradient_that_is_no_number_leaves_an_image(name: str) -> None:
    method, parameters, budgets = ATTACKS[name]
    network = linear(0, samples=3, shape=(2, 2, 1))
    inner = network.tensorflow_model()._model
    model = foolbox.TensorFlowModel(lambda x: inner(x) + tf.sqrt(0 * inner(x)), bounds=(0, 1))
    samples = np.rint(network.samples * 255).astype(np.uint8)
    labels = model(tf.constant(samples / np.float32(255))).numpy().argmax(axis=1)
    crafted = craft(Setting(method, "linf", budgets, [0], False, 3, parameters=parameters), model, samples, labels)
    assert np.isfinite(crafted.adversarial).all()


@pytest.mark.parametrize("place", [0, 1])
def test_scores_that_are_no_numbers_are_no_class(place: int) -> None:
    """NumPy's arg-max is the place of the first of them."""
    scores = np.array([[1, 0, 0]] * 3, np.float32)
    scores[:, place] = np.nan
    assert Goal(np.arange(3), targeted=False).reached(scores).all()
    assert not Goal(np.arange(3), targeted=True).reached(scores).any()


def test_attacks_and_the_counter_take_scores_that_are_no_numbers_for_misclassified_whatever_the_label() -> None:
    """As crafting and evaluation do. The scores are numbers at the clean samples alone."""
    labels = np.array([0, 1])
    clean = np.broadcast_to(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1), (2, 2, 2, 1))

    def logits(inputs: tf.Tensor) -> tf.Tensor:
        moved = tf.reduce_any(inputs * (1 - inputs) != 0, axis=(1, 2, 3))
        mean = tf.reduce_mean(inputs, axis=(1, 2, 3))
        return tf.where(moved[:, None], np.nan, tf.stack([1 - mean, mean], axis=1))

    model = foolbox.TensorFlowModel(logits, bounds=(0, 1))
    method, parameters, budgets = ATTACKS["apgd"]
    setting = Setting(method, "linf", budgets, [0], False, 2, parameters=parameters)
    # twice at the clean sample, where the first start is, and at what is returned
    assert craft(setting, model, clean, labels).queries.tolist() == [[[4, 4]]]
    counter = QueryCounter(model, clean / np.float32(255), labels, "linf", query_budget=5)
    counter(tf.constant(np.full(clean.shape, 0.5, np.float32)))
    assert (counter.best == 0.5).all()
