"""Attacks that have to evade a detector: the watched network, the loss, and a network where all others are caught."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import eagerpy as ep
import foolbox
import numpy as np
import pytest
import tensorflow as tf
from density_builder import random_density

from qnn_robustness.attacks.crafting.craft import Crafted, Setting, craft
from qnn_robustness.attacks.crafting.network import Network
from qnn_robustness.attacks.crafting.rejection import labelled
from qnn_robustness.attacks.detector_aware_pgd import loss
from qnn_robustness.common import registry
from qnn_robustness.defenses.shared.detector import squeezing_scores, threshold_at
from qnn_robustness.defenses.shared.likelihood import likelihood_scores
from qnn_robustness.defenses.shared.pipeline import defended, detector_scores, rejecting
from qnn_robustness.defenses.shared.preprocessor import Preprocessor
from qnn_robustness.models.density.pixel_cnn import PixelCNN, weight_shapes

SHAPE, CLASSES, SAMPLES = (6, 6, 1), 3, 24
WEIGHTS = np.random.default_rng(0).normal(size=(36, CLASSES)).astype(np.float32)
IMAGES = np.random.default_rng(1).integers(0, 256, (SAMPLES, *SHAPE), dtype=np.uint8)
INPUTS = (IMAGES / 255).astype(np.float32)
SQUEEZERS = [
    Preprocessor.of({"method": "bit_depth", "parameters": {"bits": 2}}),
    Preprocessor.of({"method": "median_smoothing", "parameters": {"window": 2}}),
]


def curved(inputs: tf.Tensor) -> tf.Tensor:
    return 2 * tf.tanh(tf.reshape(inputs, (-1, 36)) @ WEIGHTS / 2)


def network() -> foolbox.Model:
    return foolbox.TensorFlowModel(curved, (0, 1))


def outputs() -> list[np.ndarray]:
    """Return the logits of the network on the samples, and on the squeezed ones."""
    return [curved(inputs).numpy() for inputs in (INPUTS, *(squeezer.apply(INPUTS) for squeezer in SQUEEZERS))]


def test_a_watched_network_says_rejected_where_the_detector_does() -> None:
    scores = squeezing_scores(outputs(), False)
    threshold = float(np.median(scores)) + 1e-4
    logits = rejecting(network(), [None, *SQUEEZERS], threshold, False)(tf.constant(INPUTS)).numpy()
    np.testing.assert_allclose(logits[:, :-1], outputs()[0], rtol=1e-5, atol=1e-6)
    wanted = np.where(scores > threshold, CLASSES, outputs()[0].argmax(axis=1))
    np.testing.assert_array_equal(logits.argmax(axis=1), wanted)
    found = detector_scores(network(), [None, *SQUEEZERS], IMAGES, batch_size=7)
    np.testing.assert_allclose(found, scores, atol=1e-5)
    assert len(detector_scores(network(), [None, *SQUEEZERS], IMAGES[:0])) == 0


def test_the_loss_is_counted_by_hand() -> None:
    logits = np.array([[2.0, 0.5, -1.0, 1.75], [2.0, 0.5, -1.0, 2.5], [0.0, 3.0, 1.0, 3.25]])
    values, slopes = loss(logits, np.array([0, 0, 0]), 4.0)
    assert values == pytest.approx([-1.5, -1.5 - 4 * 0.5, 3 - 4 * 0.25])  # accepted, rejected, rejected
    assert slopes.tolist() == [[-1, 1, 0, 0], [-1 + 4, 1, 0, -4], [-1, 1 + 4, 0, -4]]


def test_a_score_that_is_no_number_costs_nothing() -> None:
    values, slopes = loss(np.array([[0.0, 1.0, -np.inf]]), np.array([0]), 3.0)
    assert values.tolist() == [1.0]
    assert slopes.tolist() == [[-1, 1, 0]]


def test_gradients_of_the_loss_are_finite_differences() -> None:
    """Behind the median, which has an exact gradient; on samples that the detector accepts, and on rejected ones."""
    levels = np.random.default_rng(2).permuted(np.tile(np.arange(3, 255, 7), (SAMPLES, 1)), axis=1)
    inputs = (levels.reshape(SAMPLES, *SHAPE) / 255).astype(np.float32)  # values of a sample differ by more than a step
    labels, step = np.arange(SAMPLES) % CLASSES, 0.25 / 255
    runs = [None, SQUEEZERS[1]]
    threshold = float(np.median(detector_scores(network(), runs, inputs)))
    watched = Network(rejecting(network(), runs, threshold, False), ep.astensor(tf.constant(inputs)))
    logits, gradient = watched.slope(inputs, lambda z: loss(z, labels, 5.0)[1])
    direction = np.random.default_rng(3).choice([-1, 1], inputs.shape).astype(np.float32)
    sides = [watched.logits(inputs + sign * step * direction) for sign in (1, -1)]
    rejected = [side.argmax(axis=1) == CLASSES for side in (logits, *sides)]
    tops = [side[:, :-1].argmax(axis=1) for side in (logits, *sides)]
    smooth = (np.ptp(np.int64(rejected), axis=0) == 0) & (np.ptp(tops, axis=0) == 0)  # no corner between the sides
    assert smooth[rejected[0]].sum() > 5
    assert smooth[~rejected[0]].sum() > 5
    up, down = (loss(side, labels, 5.0)[0] for side in sides)
    along = (gradient * direction).reshape(SAMPLES, -1).sum(axis=1)
    np.testing.assert_allclose(along[smooth], ((up - down) / (2 * step))[smooth], rtol=0.02, atol=0.02)


# --- a network where attackers who do not know the threshold are always caught ---------------------------------------

GREY, BUDGET = 128 / 255, 20 / 255
FRAGILE, SMOOTH = 4.0, 1.6  # what a whole budget on either pixel takes from a lead of 1
HIDDEN = SimpleNamespace(  # a squeezer that hides the fragile pixel; its gradient is exact
    apply=lambda samples: np.concatenate([np.full_like(samples[:, :, :1], GREY), samples[:, :, 1:]], axis=2),
    pull_back=lambda gradients, samples: gradients * np.array([0, 1], np.float32)[:, None],
)
DETECTOR = [None, Preprocessor(HIDDEN, {})]
THRESHOLD = 0.3
CLEAN = np.stack([np.array([[[128], [128 + i]]], np.uint8) for i in range(-3, 4)])


def lead(inputs: np.ndarray | tf.Tensor) -> np.ndarray | tf.Tensor:
    """Return the logit of class 0 over class 1: the smooth pixel alone can make it negative."""
    return 1 - FRAGILE * (inputs[:, 0, 0, 0] - GREY) / BUDGET - SMOOTH * (inputs[:, 0, 1, 0] - GREY) / BUDGET


def two_pixels(inputs: tf.Tensor) -> tf.Tensor:
    return tf.stack([lead(inputs), tf.zeros_like(inputs[:, 0, 0, 0])], axis=1)


def attacked(method: str, model: foolbox.Model, **parameters: float) -> Crafted:
    parameters = {"steps": 30, "relative_step_size": 0.1, "restarts": 1, **parameters}
    watched = method == "detector_aware_pgd"
    module = registry.load("attacks", method)
    setting = Setting(module, "linf", [BUDGET], [0], True, 7, parameters=parameters, rejection=watched)
    return craft(setting, model, CLEAN, np.zeros(7, np.int64))


def judged(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which images are misclassified, and the detector's score, in closed form: with two classes twice |dp|."""
    inputs = images / 255
    plain, squeezed = (1 / (1 + np.exp(-lead(seen))) for seen in (inputs, HIDDEN.apply(inputs)))
    return lead(inputs) < 0, 2 * np.abs(plain - squeezed)


def test_an_attacker_who_knows_the_threshold_evades_where_others_are_caught() -> None:
    plain = foolbox.TensorFlowModel(two_pixels, (0, 1))
    for model in (plain, defended(plain, DETECTOR, True)):
        fooled, scores = judged(attacked("pgd", model).adversarial[0, 0])
        assert fooled.all()
        assert (scores > THRESHOLD).all()
    crafted = attacked("detector_aware_pgd", rejecting(plain, DETECTOR, THRESHOLD, True), restarts=5, weight=10)
    fooled, scores = judged(crafted.adversarial[0, 0])
    assert (fooled & (scores <= THRESHOLD)).all()
    assert crafted.found.all()
    assert np.abs(crafted.adversarial[0, 0].astype(int) - CLEAN).max() <= 20


# --- attackers without gradients --------------------------------------------------------------------------------------

DECISIONS = {
    "steps": 30,
    "initial_gradient_eval_steps": 20,
    "max_gradient_eval_steps": 100,
    "gamma": 1.0,
    "smallest_probe": 0.01,
    "initial_draws": 100,
}


def test_who_is_rejected_is_answered_with_its_label() -> None:
    logits = np.array([[2.0, 0.5, -1.0, 1.75], [2.0, 0.5, -1.0, 2.5], [0.0, 3.0, 1.0, 3.25]], np.float32)
    answered = labelled(logits, np.array([1, 1, 0]))
    assert answered.tolist() == [[2, 0.5, -1], [2, 2.5, -1], [3.25, 3, 1]]


def test_a_score_that_is_no_number_rejects_nothing() -> None:
    """As in evaluation: the class of the network counts."""

    def broken(inputs: tf.Tensor) -> tf.Tensor:
        squeezed = tf.range(len(inputs)) >= len(CLEAN)
        return tf.where(squeezed[:, None], np.nan, two_pixels(inputs))

    plain, inputs = foolbox.TensorFlowModel(broken, (0, 1)), tf.constant(CLEAN / np.float32(255))
    answered = rejecting(plain, DETECTOR, THRESHOLD, True)(inputs).numpy()
    assert (answered[:, -1] == -np.inf).all()
    np.testing.assert_array_equal(answered.argmax(axis=1), two_pixels(inputs).numpy().argmax(axis=1))


def test_an_attacker_who_asks_the_watched_pipeline_evades_where_others_are_caught() -> None:
    plain, module = foolbox.TensorFlowModel(two_pixels, (0, 1)), registry.load("attacks", "hop_skip_jump")
    setting = Setting(module, "l2", [], [0], True, 7, parameters=DECISIONS)
    unaware = craft(setting, defended(plain, DETECTOR, True), CLEAN, np.zeros(7, np.int64))
    assert (judged(unaware.adversarial[0, 0])[1] > THRESHOLD).all()
    watched = rejecting(plain, DETECTOR, THRESHOLD, True)
    crafted = craft(replace(setting, rejection=True), watched, CLEAN, np.zeros(7, np.int64))
    fooled, scores = judged(crafted.adversarial[0, 0])
    assert crafted.found.all()
    assert (fooled & (scores <= THRESHOLD)).all()
    moves = np.linalg.norm((crafted.adversarial[0, 0].astype(float) - CLEAN).reshape(7, -1), axis=1)
    alone = 141 - CLEAN[:, 0, 1, 0].astype(float)  # by the smooth pixel alone, which evades
    assert (moves <= 1.2 * alone).all()


def test_no_sample_that_is_rejected_serves_as_a_start_or_as_an_answer() -> None:
    """A detector that rejects everything: nothing evades, and each sample costs a look, its starts and no search."""
    watched = rejecting(foolbox.TensorFlowModel(two_pixels, (0, 1)), DETECTOR, -1.0, True)
    module = registry.load("attacks", "hop_skip_jump")
    setting = Setting(module, "l2", [], [0], True, 7, parameters=DECISIONS, rejection=True)
    labels = np.arange(7) % 2  # half of the samples are misclassified, and rejected
    crafted = craft(setting, watched, CLEAN, labels)
    assert not crafted.found.any()
    np.testing.assert_array_equal(crafted.adversarial[0, 0], CLEAN)
    assert crafted.queries.max() <= 1 + 1 + DECISIONS["initial_draws"]


def test_scores_through_a_detector_find_what_evades_it() -> None:
    """Square on the curved network: what it reports is misclassified and accepted, as counted by hand."""
    labels, runs = curved(INPUTS).numpy().argmax(axis=1), [None, *SQUEEZERS]
    threshold = float(np.quantile(squeezing_scores(outputs(), False), 0.8))
    module = registry.load("attacks", "square")
    setting = Setting(
        module,
        "linf",
        [64 / 255],
        [0],
        True,
        12,
        parameters={"queries": 300, "initial_share": 0.5},
        runs=3,
        rejection=True,
    )
    crafted = craft(setting, rejecting(network(), runs, threshold, True), IMAGES, labels)
    seen = crafted.adversarial[0, 0].astype(np.float32) / 255
    logits = [curved(inputs).numpy() for inputs in (seen, *(squeezer.apply(seen) for squeezer in SQUEEZERS))]
    evading = (logits[0].argmax(axis=1) != labels) & (squeezing_scores(logits, False) <= threshold)
    np.testing.assert_array_equal(crafted.found[0, 0], evading)
    assert evading.mean() > 0.5
    assert (crafted.queries % 3 == 0).all(), "an answer takes the network and both squeezed inputs"


# --- a detector by likelihood -----------------------------------------------------------------------------------------


def near_grey() -> PixelCNN:
    """Return a density of independent values about 128, with a standard deviation of 12 levels."""
    weights = {name: np.zeros(shape) for name, shape in weight_shapes(1, 2, 1, 1).items()}
    weights["outputs/bias"] = np.array([0, 2 * GREY - 1, np.log(24 / 255 * np.sqrt(3) / np.pi)])
    return PixelCNN(weights)


def test_a_network_watched_by_a_density_says_rejected_where_an_image_is_unlikely() -> None:
    density = random_density(1)
    scores = likelihood_scores(density, IMAGES)
    np.testing.assert_allclose(detector_scores(network(), [None], IMAGES, density, batch_size=7), scores, rtol=1e-5)
    threshold = float(np.median(scores)) + 1e-4
    between = (INPUTS + np.float32(0.3 / 255)).clip(0, 1)  # counts as the nearest image
    logits = rejecting(network(), [None], threshold, False, density)(tf.constant(between)).numpy()
    wanted = np.where(scores > threshold, CLASSES, curved(between).numpy().argmax(axis=1))
    np.testing.assert_array_equal(logits.argmax(axis=1), wanted)
    np.testing.assert_allclose(logits[:, -1] - logits[:, :-1].max(axis=1), scores - threshold, atol=1e-4)


def test_gradients_of_the_likelihood_are_differences_between_neighbours() -> None:
    density, images = random_density(1), IMAGES.clip(5, 250)
    watched = Network(rejecting(network(), [None], 0.0, True, density), ep.astensor(tf.constant(INPUTS)))
    inputs = (images / 255).astype(np.float32)
    _, score = watched.slope(inputs, lambda z: only(z, CLASSES) - only(z, z[:, :-1].argmax(axis=1)))
    for row, column in ((0, 0), (2, 5), (5, 5)):
        sides = []
        for step in (1, -1):
            moved = images.copy()
            moved[:, row, column] += np.uint8(step % 256)
            sides.append(likelihood_scores(density, moved))
        slope = (sides[0] - sides[1]) / (2 / 255)
        np.testing.assert_allclose(score[:, row, column, 0], slope, rtol=0.02, atol=0.01)


def only(logits: np.ndarray, classes: np.ndarray | int) -> np.ndarray:
    """Return an array like `logits` with 1 at the classes [N]."""
    chosen = np.zeros_like(logits)
    chosen[np.arange(len(logits)), classes] = 1
    return chosen


def test_an_attacker_who_knows_the_density_stays_likely_where_others_do_not() -> None:
    plain, density = foolbox.TensorFlowModel(two_pixels, (0, 1)), near_grey()
    threshold = 1.0001 * likelihood_scores(density, np.array([[[[128 + 8]], [[128 + 8]]]], np.uint8))[0]
    unaware = attacked("pgd", plain).adversarial[0, 0]
    assert (likelihood_scores(density, unaware) > threshold).all()
    watched = rejecting(plain, [None], threshold, True, density)
    crafted = attacked("detector_aware_pgd", watched, restarts=5, weight=10)
    assert crafted.found.all()
    assert (likelihood_scores(density, crafted.adversarial[0, 0]) <= threshold).all()
    assert (lead(crafted.adversarial[0, 0] / 255) < 0).all()


def test_the_first_run_starts_from_the_clean_sample() -> None:
    watched = rejecting(foolbox.TensorFlowModel(two_pixels, (0, 1)), DETECTOR, THRESHOLD, True)
    crafted = attacked("detector_aware_pgd", watched, steps=1, weight=10)
    assert not crafted.found.any()
    assert np.abs(crafted.adversarial[0, 0].astype(int) - CLEAN).max() == 2  # one step


def test_further_runs_start_from_random_points_of_the_ball() -> None:
    watched = rejecting(foolbox.TensorFlowModel(two_pixels, (0, 1)), DETECTOR, THRESHOLD, True)
    crafted = attacked("detector_aware_pgd", watched, steps=1, restarts=20, weight=10)
    assert crafted.found.any(), "where one step from the clean sample leads nowhere"
    distances = np.abs(crafted.adversarial[0, 0].astype(int) - CLEAN).reshape(7, -1).max(axis=1)
    assert 2 < distances[crafted.found[0, 0]].max() <= 20


def test_what_is_rejected_is_not_found() -> None:
    """Without a weight on the detector the attack is PGD: caught, but for a sample that is accepted on its way."""
    watched = rejecting(foolbox.TensorFlowModel(two_pixels, (0, 1)), DETECTOR, 1e-6, True)
    crafted = attacked("detector_aware_pgd", watched, weight=0)
    fooled, scores = judged(crafted.adversarial[0, 0])
    assert fooled.all()
    assert (scores > 1e-6).sum() > 3
    assert crafted.found[0, 0].tolist() == (scores <= 1e-6).tolist()


def test_thresholds_of_clean_samples_leave_their_share() -> None:
    scores = detector_scores(network(), [None, *SQUEEZERS], IMAGES)
    threshold = threshold_at(scores, 0.25)
    logits = rejecting(network(), [None, *SQUEEZERS], threshold + 1e-6, False)(tf.constant(INPUTS)).numpy()
    assert (logits.argmax(axis=1) == CLASSES).sum() == SAMPLES // 4
