"""Attacks called as Foolbox's are, on models whose inputs are not in [0, 1]."""

from __future__ import annotations

from typing import Any

import eagerpy as ep
import foolbox
import numpy as np
import pytest
from attack_models import Linear, linear, native

from qnn_robustness.attacks import (
    apgd,
    carlini_wagner_linf,
    deepfool,
    fab,
    fmn,
    geoda,
    hop_skip_jump,
    jsma,
    square,
    zoo,
)
from qnn_robustness.attacks.crafting.queries import QueryCounter
from qnn_robustness.attacks.crafting.streams import SampleStreams
from qnn_robustness.common.distances import distance

ATTACKS = {
    "apgd": (apgd, "linf", dict(loss="ce", steps=10, restarts=1, targets=1), [0.05, 0.3]),
    "square_linf": (square, "linf", dict(queries=40, initial_share=0.5), [0.05, 0.3]),
    "square_l2": (square, "l2", dict(queries=40, initial_share=0.5), [0.3, 1.0]),
    "fab": (
        fab,
        "l2",
        dict(
            steps=10,
            targets=0,
            restarts=2,
            largest_bias=0.1,
            overshoot=1.05,
            backward_step=0.9,
            smallest_overshoot=0.002,
        ),
        None,
    ),
    "fmn": (fmn, "l2", dict(steps=30, step_size=1.0, gamma=0.05), None),
    "jsma": (jsma, "l0", dict(theta=1.0, largest_share=1.0, aim="random"), None),
    "carlini_wagner_linf": (
        carlini_wagner_linf,
        "linf",
        dict(
            steps=20,
            step_size=0.01,
            relative_step_size=0.1,
            confidence=0.0,
            initial_constant=0.1,
            constant_factor=4.0,
            largest_constant=20.0,
            threshold_factor=0.8,
            smallest_threshold=0.004,
        ),
        None,
    ),
    "zoo": (
        zoo,
        "l2",
        dict(
            binary_search_steps=3,
            steps=30,
            step_size=0.02,
            confidence=0.0,
            initial_constant=0.1,
            difference=0.004,
            coordinates=8,
            attack_spaces=[],
            importance_sampling=False,
            abort_early=False,
        ),
        None,
    ),
    "geoda": (
        geoda,
        "l2",
        dict(queries=200, query_ratio=0.6, sigma=0.004, tolerance=0.001, subspace=4, initial_draws=50),
        None,
    ),
    "hop_skip_jump": (
        hop_skip_jump,
        "l2",
        dict(
            steps=3,
            initial_gradient_eval_steps=30,
            max_gradient_eval_steps=100,
            gamma=1.0,
            smallest_probe=0.004,
            initial_draws=50,
        ),
        None,
    ),
}


def bounded(network: Linear, white_box: bool, low: float, high: float) -> foolbox.Model:
    """Return the classifier of inputs in [0, 1] for inputs in [low, high]."""
    size = high - low
    if not white_box:
        return foolbox.NumPyModel(lambda x: network.logits((x - np.float32(low)) / np.float32(size)), (low, high))
    mean, deviation = np.array([low], np.float32), np.array([size], np.float32)
    return foolbox.TensorFlowModel(
        network.tensorflow_model()._model, (low, high), preprocessing=dict(mean=mean, std=deviation)
    )


def attacked(name: str, network: Linear, low: float, high: float) -> np.ndarray:
    """Return what an attack finds, scaled back to [0, 1]: [N, ...], or [E, N, ...] for several budgets."""
    method, norm, parameters, budgets = ATTACKS[name]
    model = bounded(network, method.ACCESS == "white_box", low, high)
    inputs = (low + (high - low) * network.samples).astype(np.float32)
    criterion = foolbox.Misclassification(native(model, network.labels))
    epsilons: Any = None if budgets is None else [(high - low) * budget for budget in budgets]
    with SampleStreams(0, range(len(inputs)), inputs.shape[1:]).serving_eagerpy():
        _, found, success = method.build(norm, **parameters)(model, native(model, inputs), criterion, epsilons=epsilons)
    points = np.stack([ep.astensor(part).numpy() for part in found]) if budgets else ep.astensor(found).numpy()
    assert points.min() >= low
    assert points.max() <= high
    if budgets is None:
        assert ep.astensor(success).numpy().all()
    else:
        far = [distance(norm, part, inputs).max() for part in points]
        assert (np.array(far) <= np.array(epsilons) * (1 + 1e-5)).all()
    return (points - low) / (high - low)


@pytest.mark.parametrize("bounds", [(-1, 1), (0, 255)])
@pytest.mark.parametrize("name", ATTACKS)
def test_bounds_change_nothing_but_the_unit(name: str, bounds: tuple[int, int]) -> None:
    network = linear(5, samples=6, shape=(4, 4, 1), classes=3)
    norm = ATTACKS[name][1]
    expected, scaled = attacked(name, network, 0, 1), attacked(name, network, *bounds)
    if name in ("geoda", "hop_skip_jump", "zoo"):  # whose decisions a rounding error may turn
        clean = network.samples
        np.testing.assert_allclose(distance(norm, scaled, clean), distance(norm, expected, clean), rtol=0.2)
    else:
        np.testing.assert_allclose(scaled, expected, atol=2e-3)


@pytest.mark.parametrize("name", ATTACKS)
def test_queries_are_counted_for_the_samples_that_are_left_whatever_the_bounds(name: str) -> None:
    method, norm, parameters, budgets = ATTACKS[name]
    network = linear(5, samples=6, shape=(4, 4, 1), classes=3, margin=0.4)
    counted = []
    for low, high in ((0, 1), (0, 2)):
        model = bounded(network, method.ACCESS == "white_box", low, high)
        inputs = (high * network.samples).astype(np.float32)
        counter = QueryCounter(model, inputs, network.labels, norm)
        criterion = foolbox.Misclassification(native(model, network.labels))
        epsilon = None if budgets is None else high * budgets[0]
        with SampleStreams(0, range(len(inputs)), inputs.shape[1:]).serving_eagerpy():
            method.build(norm, **parameters)(counter, native(model, inputs), criterion, epsilons=epsilon)
        counted.append(counter.queries)
    np.testing.assert_array_equal(*counted)  # of two, whose powers change no rounding


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("name", ["deepfool", "fab"])
def test_flat_inputs_are_attacked_as_images_of_the_same_values_are(name: str, norm: str) -> None:
    network = linear(6, samples=5, shape=(4, 4, 1), classes=3)
    attack = deepfool.build(norm, steps=20, overshoot=0.02) if name == "deepfool" else fab.FAB(norm, steps=5, targets=0)
    criterion = foolbox.Misclassification(native(network.tensorflow_model(), network.labels))
    found = []
    for values in (network.samples, network.samples.reshape(5, -1)):
        counter = QueryCounter(network.tensorflow_model(), values, network.labels, norm)
        found.append(attack(counter, native(counter, values), criterion, epsilons=None)[1].numpy())
    np.testing.assert_array_equal(found[1], found[0].reshape(5, -1))
