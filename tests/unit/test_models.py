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
    "svhn_cnn": ((32, 32, 3), 10, None),
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


def test_the_coffee_network_takes_images_from_140_pixels_on():
    build = registry.load("models", "coffee_cnn").build
    assert build((140, 140, 3), 4).output_shape == (None, 4)
    with pytest.raises(ValueError, match=r"[Nn]egative|smaller"):
        build((139, 139, 3), 4)


SMALLEST = {
    "coffee_cnn": (140, 140, 3),
    "ds_cnn": (49, 10, 1),
    "vgg_cifar": (8, 8, 3),
    "svhn_cnn": (8, 8, 3),
}


@pytest.mark.parametrize("name", SMALLEST)
def test_the_integer_model_of_an_architecture_equals_the_interpreter(name, tmp_path):
    import keras

    from qnn_robustness.quantization.convert import convert
    from qnn_robustness.quantization.integer_model.exactness import check_exactness
    from qnn_robustness.quantization.integer_model.model import IntegerModel

    keras.utils.set_random_seed(1)
    network = registry.load("models", name).build(SMALLEST[name], 3)
    samples = np.random.default_rng(0).random((8, *SMALLEST[name]), np.float32)
    samples[0], samples[1] = 0, 1
    path = tmp_path / "int8.tflite"
    path.write_bytes(convert(network, "int8", samples))
    for kernels in ("reference", "xnnpack"):
        model = IntegerModel.from_file(path, kernels)
        assert check_exactness(model, path, samples) == 0
