"""FMN near the edges of the box, where a step loses the part of its length that leads outside."""

from __future__ import annotations

import numpy as np
import pytest
from attack_models import Linear, aimed, linear, native, perturbed
from attack_oracles import exact_distances

from qnn_robustness.attacks import fmn
from qnn_robustness.common.distances import distance

SETTINGS = dict(steps=150, step_size=1.0, gamma=0.05)


def near_corners(samples: int = 24) -> Linear:
    """Return a classifier of two classes, with samples most of whose values are at an end of their range."""
    network = linear(3, samples=samples, shape=(4, 4, 3), classes=2)
    points = np.random.default_rng(3).choice([0.0, 0.02, 0.5, 0.97, 1.0], size=network.samples.shape)
    return Linear(points.astype(np.float32), network.weights, network.bias)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", fmn.NORMS)
def test_every_sample_is_found_and_near_the_exact_distance(norm: str, targeted: bool) -> None:
    network = near_corners()
    model = network.tensorflow_model()
    goal = aimed(model, 1 - network.labels) if targeted else network.labels
    found = perturbed(fmn.build(norm, **SETTINGS), model, network.samples, goal)
    assert found.min() >= 0
    assert found.max() <= 1
    assert (model(native(model, found)).numpy().argmax(axis=1) != network.labels).all()
    if norm != "l1":
        ratios = distance(norm, found, network.samples) / exact_distances(network, norm)
        assert ratios.min() >= 1 - 1e-4
        assert np.median(ratios) <= 1.02


@pytest.mark.parametrize("norm", fmn.NORMS)
def test_projections_end_a_little_past_the_radius(norm: str) -> None:
    attack = fmn.build(norm, **SETTINGS)
    generator = np.random.default_rng(0)
    moves = generator.normal(size=(20, 12)).astype(np.float32)
    before = distance(norm, moves, 0 * moves)
    radii = (before * generator.uniform(0.2, 2, size=20)).astype(np.float32)
    after = distance(norm, attack.projected(moves, radii), 0 * moves)
    np.testing.assert_allclose(after, np.minimum(before, (1 + fmn.PAST) * radii), rtol=1e-5)
