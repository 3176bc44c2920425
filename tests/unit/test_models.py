"""Architectures: as large as published, logits as output, deployable."""

from __future__ import annotations

import numpy as np
import pytest

from qnn_robustness.common import registry

# Input shape, classes and published parameters (MLPerf Tiny; Costa and Pinto 2024); None where nothing is published.
PUBLISHED = {
    "resnet8": ((32, 32, 3), 10, 78_666),
    "mobilenet_v1": ((96, 96, 3), 2, 221_794),
    "coffee_cnn": ((224, 224, 3), 4, 250_436),
    "ds_cnn": ((49, 10, 1), 12, 24_908),
    "mobilenet_v1_cifar": ((32, 32, 3), 10, None),
    "vgg_cifar": ((32, 32, 3), 10, None),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_architecture_has_its_published_size_and_gives_logits(name):
    import keras

    shape, classes, parameters = PUBLISHED[name]
    keras.utils.set_random_seed(0)
    network = registry.load("models", name).build(shape, classes)
    assert network.count_params() == parameters or parameters is None
    assert network.input_shape == (None, *shape)
    logits = np.asarray(network(np.random.default_rng(0).random((2, *shape), np.float32)))
    assert logits.shape == (2, classes)
    assert logits.min() < 0, "probabilities are no logits"
    assert np.abs(logits[0] - logits[1]).max() > 0, "the output does not depend on the input"


@pytest.mark.parametrize("name", ["mobilenet_v1_cifar", "vgg_cifar"])
def test_a_source_of_ensemble_training_fits_among_the_reference_networks(name):
    shape, classes, _ = PUBLISHED[name]
    assert 4 * registry.load("models", name).build(shape, classes).count_params() < 1_000_000
