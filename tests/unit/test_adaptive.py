"""Attacks through a preprocessor: their gradients, their random numbers, and that they find more than static ones."""

from __future__ import annotations

from functools import partial

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from density_builder import density_file

from qnn_robustness.attacks.crafting.craft import Crafted, Setting, craft
from qnn_robustness.common import registry
from qnn_robustness.defenses.shared.pipeline import defended, runs_of
from qnn_robustness.defenses.shared.preprocessor import Preprocessor

SHAPE, CLASSES, SAMPLES = (6, 6, 1), 3, 9
WEIGHTS = np.random.default_rng(0).normal(size=(36, CLASSES)).astype(np.float32)
WEIGHTS -= WEIGHTS.mean(axis=0)
IMAGES = np.random.default_rng(1).integers(0, 256, (SAMPLES, *SHAPE), dtype=np.uint8)
INPUTS = (IMAGES / 255).astype(np.float32)
ENTRIES = {
    "bit_depth": {"bits": 2},
    "median_smoothing": {"window": 2},
    "jpeg": {"quality": 50},
    "random_resize_pad": {"smallest": 0.5},
    "pixel_defend": {"density": density_file(1), "epsilon": 40 / 255},
    "pixel_defend_one_pass": {"density": density_file(1), "epsilon": 40 / 255},
}
PARAMETERS = {
    "pgd": {"steps": 10, "relative_step_size": 0.25, "restarts": 1},
    "hop_skip_jump": {
        "steps": 4, "initial_gradient_eval_steps": 20, "max_gradient_eval_steps": 50, "gamma": 1.0,
        "smallest_probe": 1 / 255, "initial_draws": 20,
    },
}  # fmt: skip


def preprocessor(method: str) -> Preprocessor:
    return Preprocessor.of({"method": method, "parameters": ENTRIES[method]})


def curved(inputs: tf.Tensor) -> tf.Tensor:
    """A smooth network that is not linear, so that gradients depend on where they are taken."""
    return tf.tanh(tf.reshape(inputs, (-1, 36)) @ WEIGHTS / 3)


def numpy_logits(inputs: np.ndarray) -> np.ndarray:
    return np.concatenate([np.tanh(row.reshape(1, -1) @ WEIGHTS / 3) for row in inputs])


def pipeline(
    method: str, draws: int = 3, on_lattice: bool = False, numpy: bool = False, fresh_draws: bool = True
) -> foolbox.Model:
    network = (
        foolbox.NumPyModel(numpy_logits, (0, 1), data_format="channels_last")
        if numpy
        else foolbox.TensorFlowModel(curved, (0, 1))
    )
    return defended(network, runs_of([preprocessor(method)], draws), on_lattice, fresh_draws)


def loss_and_gradient(model: foolbox.Model, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of weighted logits of each sample, and the gradients."""
    weights = np.array([1.0, -2.0, 0.5], np.float32)
    with tf.GradientTape() as tape:
        values = tf.constant(inputs)
        tape.watch(values)
        losses = tf.reduce_sum(model(values) * weights, axis=1)
    return losses.numpy().astype(np.float64), tape.gradient(losses, values).numpy()


@pytest.mark.parametrize("method", ["median_smoothing", "random_resize_pad"])
def test_gradients_through_exact_defenses_are_finite_differences(method: str) -> None:
    model, step = pipeline(method), 0.25 / 255
    levels = np.random.default_rng(2).permuted(np.tile(np.arange(3, 255, 7), (SAMPLES, 1)), axis=1)
    inputs = (levels.reshape(SAMPLES, *SHAPE) / 255).astype(np.float32)  # values of a sample differ by more than a step
    _, gradient = loss_and_gradient(model, inputs)
    direction = np.random.default_rng(3).choice([-1, 1], inputs.shape).astype(np.float32)
    sides = [loss_and_gradient(model, inputs + sign * step * direction)[0] for sign in (1, -1)]
    along = (gradient * direction).reshape(SAMPLES, -1).sum(axis=1)
    np.testing.assert_allclose(along, (sides[0] - sides[1]) / (2 * step), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("method", ["bit_depth", "jpeg", "pixel_defend", "pixel_defend_one_pass"])
@pytest.mark.parametrize("on_lattice", [True, False])
def test_gradients_through_rounding_are_those_of_the_network_at_the_defended_input(method, on_lattice) -> None:
    front = preprocessor(method)
    losses, gradient = loss_and_gradient(pipeline(method, on_lattice=on_lattice), INPUTS)
    network = foolbox.TensorFlowModel(curved, (0, 1))
    expected_losses, expected = loss_and_gradient(network, front.apply(INPUTS))
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    assert np.abs(expected - loss_and_gradient(network, INPUTS)[1]).max() > 1e-3


@pytest.mark.parametrize("method", ["median_smoothing", "random_resize_pad"])
def test_on_the_lattice_defenses_get_8_bit_images_and_gradients_go_straight_through(method) -> None:
    between = (INPUTS + np.float32(0.3 / 255)).clip(0, 1)
    losses, gradient = loss_and_gradient(pipeline(method, on_lattice=True), between)
    expected_losses, expected = loss_and_gradient(pipeline(method), INPUTS)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(loss_and_gradient(pipeline(method), between)[0] - losses).max() > 1e-4


def test_logits_and_gradients_are_means_over_the_draws() -> None:
    front, drawn = preprocessor("random_resize_pad"), []

    class Recorded(Preprocessor):
        def draw(self, generators, shape):
            drawn.append(front.draw(generators, shape))
            return drawn[-1]

    network = foolbox.TensorFlowModel(curved, (0, 1))
    model = defended(network, [Recorded(front.method, front.parameters)] * 4, False)
    losses, gradient = loss_and_gradient(model, INPUTS)
    assert len(drawn) == 4
    parts = [loss_and_gradient(network, front.apply(INPUTS, randomness)) for randomness in drawn]
    assert np.ptp([loss for loss, _ in parts], axis=0).max() > 0.1
    pulled = [front.pull_back(part, INPUTS, numbers) for (_, part), numbers in zip(parts, drawn, strict=True)]
    np.testing.assert_allclose(losses, np.mean([loss for loss, _ in parts], axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, np.mean(pulled, axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("numpy", [True, False])
def test_random_numbers_belong_to_the_image(numpy: bool) -> None:
    model = pipeline("random_resize_pad", draws=1, numpy=numpy)

    def scores(inputs: np.ndarray) -> np.ndarray:
        return np.asarray(model(inputs if numpy else tf.constant(inputs)))

    whole = scores(INPUTS)
    np.testing.assert_allclose(scores(INPUTS[[4, 1]]), whole[[4, 1]], atol=1e-6)
    np.testing.assert_allclose(scores(INPUTS + np.float32(0.4 / 255)), whole, atol=0.02)  # the same 8-bit images
    similar = np.stack([INPUTS[0]] * 20)
    similar[:, 0, 0, 0] = np.arange(20) / 255
    assert np.ptp(scores(similar), axis=0).max() > 0.1, "each image meets fresh random numbers"
    model = pipeline("random_resize_pad", draws=1, numpy=numpy, fresh_draws=False)
    assert np.ptp(scores(similar), axis=0).max() < 0.05, "all images meet the same random numbers"


def test_a_search_through_a_randomised_defense_finds_more_with_the_same_draws_for_all_images() -> None:
    """With fresh ones it keeps what was lucky once: fewer samples fool the deployed defense, whose draws are others."""
    front, images = preprocessor("random_resize_pad"), np.random.default_rng(1).integers(0, 256, (60, *SHAPE), np.uint8)

    def right(samples: np.ndarray) -> float:
        inputs = (samples / 255).astype(np.float32)
        deployed = [numpy_logits(front.deployed(inputs, np.arange(60) + 60 * turn)) for turn in range(20)]
        return float((np.argmax(deployed, axis=2) == labels).mean())

    def left(model: foolbox.Model) -> float:
        method, parameters = registry.load("attacks", "square"), {"queries": 200, "initial_share": 0.8}
        setting = Setting(method, "linf", [10 / 255], [0], True, 60, parameters=parameters)
        return right(craft(setting, model, images, labels).adversarial[0, 0])

    labels = numpy_logits(images / np.float32(255)).argmax(axis=1)
    through = partial(pipeline, "random_resize_pad", draws=10, on_lattice=True, numpy=True)
    assert left(through(fresh_draws=False)) < left(through(fresh_draws=True)) - 0.05


def crafted(attack: str, model: foolbox.Model, batch_size: int = SAMPLES, runs: int = 1, **changes) -> Crafted:
    labels = np.arange(SAMPLES) % CLASSES
    norm, budgets = ("linf", [0.2]) if attack == "pgd" else ("l2", [])
    method, parameters = registry.load("attacks", attack), PARAMETERS[attack]
    setting = Setting(method, norm, budgets, [0], True, batch_size, runs=runs, parameters=parameters, **changes)
    return craft(setting, model, IMAGES, labels)


@pytest.mark.parametrize(("attack", "numpy"), [("pgd", False), ("hop_skip_jump", True)])
def test_a_sample_crafted_through_a_randomised_defense_does_not_depend_on_its_batch(attack, numpy) -> None:
    model = pipeline("random_resize_pad", on_lattice=True, numpy=numpy)
    whole, parts = (crafted(attack, model, size) for size in (SAMPLES, 4))
    np.testing.assert_array_equal(whole.adversarial, parts.adversarial)
    np.testing.assert_array_equal(whole.found, parts.found)


def test_every_draw_is_a_query() -> None:
    model = pipeline("random_resize_pad", draws=3, on_lattice=True)
    np.testing.assert_array_equal(crafted("pgd", model, runs=3).queries, 3 * crafted("pgd", model).queries)
    limited = crafted("hop_skip_jump", model, runs=3, query_budget=60)
    assert limited.queries.max() <= 63  # three of them tell whether the clean sample is classified right


def test_a_detector_is_attacked_through_the_network_and_its_squeezers_at_once() -> None:
    fronts = [None, preprocessor("bit_depth"), preprocessor("median_smoothing")]
    network = foolbox.TensorFlowModel(curved, (0, 1))
    losses, gradient = loss_and_gradient(defended(network, runs_of(fronts, 10), False), INPUTS)
    parts = [loss_and_gradient(network, INPUTS)]
    parts += [loss_and_gradient(pipeline(method), INPUTS) for method in ("bit_depth", "median_smoothing")]
    np.testing.assert_allclose(losses, np.mean([loss for loss, _ in parts], axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, np.mean([pulled for _, pulled in parts], axis=0), rtol=1e-4, atol=1e-6)
    assert len(runs_of([*fronts, preprocessor("random_resize_pad")], 10)) == 13


def test_an_attacker_who_knows_the_median_fools_twice_as_many_samples() -> None:
    front, indices = preprocessor("median_smoothing"), np.arange(60)
    images = np.random.default_rng(1).integers(0, 256, (60, *SHAPE), dtype=np.uint8)

    def predictions(samples: np.ndarray) -> np.ndarray:
        return numpy_logits(front.deployed((samples / 255).astype(np.float32), indices)).argmax(axis=1)

    labels = predictions(images)  # what the defended network says

    def fooled(model: foolbox.Model) -> int:
        method = registry.load("attacks", "pgd")
        setting = Setting(method, "linf", [10 / 255], [0], True, 60, parameters=PARAMETERS["pgd"])
        return int((predictions(craft(setting, model, images, labels).adversarial[0, 0]) != labels).sum())

    static = fooled(foolbox.TensorFlowModel(curved, (0, 1)))
    adaptive = fooled(pipeline("median_smoothing", on_lattice=True))
    assert adaptive >= 2 * static, (adaptive, static)
