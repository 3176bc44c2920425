"""White-box attacks on a network whose gradient is not a number: they fail, and what they return is an image."""

from __future__ import annotations

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from attack_models import linear

from qnn_robustness.attacks import apgd, deepfool, fgsm, mi_fgsm, pgd
from qnn_robustness.attacks.crafting.craft import Setting, craft

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
