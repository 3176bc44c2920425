"""Networks under attack: their gradients, and what these cost."""

from __future__ import annotations

from pathlib import Path

import eagerpy as ep
import foolbox
import numpy as np
import pytest
import tensorflow as tf

from qnn_robustness.attacks.crafting.craft import Setting, craft
from qnn_robustness.attacks.crafting.network import Network
from qnn_robustness.attacks.crafting.queries import QueryCounter
from qnn_robustness.attacks.crafting.sources import BOUNDS, View, vote
from qnn_robustness.attacks.crafting.sources.differentiable import Differentiable
from qnn_robustness.common import registry

NETWORKS = Path(__file__).resolve().parents[2] / "reference_models" / "cifar10_resnet8" / "standard"
FILES = [str(NETWORKS / name) for name in ("float32.keras", "int16.tflite", "int8.tflite")]


def test_no_time_goes_into_gradients_of_weights() -> None:
    """A compiled function under an eager tape computes gradients in all that it reads, wanted or not.

    The vote has the weights of all three precisions.
    """
    view = View(on_lattice=True, clean=np.empty((0, 32, 32, 3), np.float32))
    logits = vote.load(FILES, "tensorflow+reference+reference", view)._model
    inputs = tf.constant(np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype(np.float32))
    weights = logits.variables
    with tf.GradientTape() as tape:
        tape.watch([inputs, *weights])
        outputs = logits(inputs)
    slope, *others = tape.gradient(outputs, [inputs, *weights])
    assert np.abs(slope).max() > 0
    assert len(weights) > 10
    assert all(gradient is None for gradient in others)


SHAPE = (4, 4, 1)
GENERATOR = np.random.default_rng(0)
FIRST, SECOND = (GENERATOR.normal(size=size).astype(np.float32) for size in ((16, 24), (24, 4)))
SAMPLES = GENERATOR.integers(0, 256, (10, *SHAPE), dtype=np.uint8)


def curved(inputs: tf.Tensor) -> tf.Tensor:
    return tf.tanh(tf.reshape(inputs - 0.5, (-1, 16)) @ FIRST) @ SECOND


def on_a_tape() -> foolbox.TensorFlowModel:
    return foolbox.TensorFlowModel(tf.function(curved, reduce_retracing=True), BOUNDS)


def in_one_function() -> Differentiable:
    return Differentiable(curved, SHAPE)


@pytest.mark.parametrize("model", [on_a_tape, in_one_function])
def test_the_slope_is_the_derivative(model) -> None:
    inputs = (SAMPLES / 255).astype(np.float32)
    hidden = np.tanh((inputs.astype(np.float64) - 0.5).reshape(-1, 16) @ FIRST)

    def expected(constants: np.ndarray) -> np.ndarray:
        return (((constants @ SECOND.T) * (1 - hidden**2)) @ FIRST.T).reshape(inputs.shape)

    network = Network(model(), ep.astensor(tf.zeros(1)))
    logits, gradient = network.slope(inputs, lambda scores: scores**2)
    np.testing.assert_allclose(logits, hidden @ SECOND, atol=1e-5)
    np.testing.assert_allclose(gradient, expected(logits.astype(np.float64) ** 2), atol=1e-3)
    _, gradient = network.gradient(inputs, lambda scores: (scores**3).sum())
    np.testing.assert_allclose(gradient, expected(3 * logits.astype(np.float64) ** 2), atol=1e-3)


def test_a_slope_counts_as_a_call_does() -> None:
    inputs = (SAMPLES / 255).astype(np.float32)
    counter = QueryCounter(in_one_function(), inputs, np.zeros(len(inputs), np.int64), "l2", query_budget=3)
    network = Network(counter, ep.astensor(tf.zeros(1)))
    network.slope(inputs, np.ones_like)
    with network.only(np.array([2, 5])):
        network.slope(np.concatenate([inputs[[2, 5]] / 2, inputs[[2, 5]] / 3]), np.ones_like)
    np.testing.assert_array_equal(counter.queries, np.where(np.isin(np.arange(len(inputs)), [2, 5]), 3, 1))
    fooled = curved(inputs).numpy().argmax(axis=1) != 0
    np.testing.assert_array_equal(counter.best_distance[fooled], 0)


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("fgsm", {"random_start": False}),
        ("mi_fgsm", {"steps": 5, "relative_step_size": 0.3, "momentum": 1.0}),
        ("pgd", {"steps": 5, "relative_step_size": 0.3, "restarts": 3}),
    ],
)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_descents_take_the_same_steps_on_a_tape_and_in_one_function(method, parameters, norm) -> None:
    attack = Setting(registry.load("attacks", method), norm, [0.05], [0], False, 10, parameters=parameters)
    labels = curved(tf.constant((SAMPLES / 255).astype(np.float32))).numpy().argmax(axis=1)
    tape, function = (craft(attack, model(), SAMPLES, labels) for model in (on_a_tape, in_one_function))
    np.testing.assert_allclose(function.adversarial, tape.adversarial, atol=1e-5)
    np.testing.assert_array_equal(function.queries, tape.queries)
    assert (function.adversarial != (SAMPLES / 255).astype(np.float32)).any(axis=(0, 1, 3, 4, 5)).all()
