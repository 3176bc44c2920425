"""Conversion and the batched interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.tflite_model import TFLiteModel

SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    import keras

    from qnn_robustness.models.small_cnn import build
    from qnn_robustness.quantization.convert import convert

    keras.utils.set_random_seed(0)
    network = build(SHAPE, 4)
    calibration = np.random.default_rng(0).random((50, *SHAPE)).astype(np.float32)
    calibration[0, 0, 0], calibration[0, 0, 1] = 0, 1
    folder = tmp_path_factory.mktemp("networks")
    for precision in ("int8", "int16"):
        for output in ("logits", "softmax"):
            (folder / f"{precision}_{output}.tflite").write_bytes(convert(network, precision, calibration, output))
    return folder, network


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (70, *SHAPE)).astype(np.float32) / np.float32(255)


def test_more_bits_are_nearer_to_the_float_network(files, samples):
    folder, network = files
    logits = np.asarray(network(samples))
    int8, int16 = (
        np.abs(TFLiteModel(folder / f"{precision}_logits.tflite", "reference").predict(samples) - logits).mean()
        for precision in ("int8", "int16")
    )
    assert int16 < int8 < 0.05 * logits.std()


@pytest.mark.parametrize("kernels", ["reference", "builtin", "xnnpack"])
def test_batches_equal_single_samples(files, samples, kernels):
    model = TFLiteModel(files[0] / "int8_logits.tflite", kernels)
    together = model.predict(np.concatenate([samples, samples]))
    alone = np.concatenate([model.predict(sample[None]) for sample in samples[:5]])
    np.testing.assert_array_equal(together[:5], alone)
    np.testing.assert_array_equal(together[:70], together[70:])


@pytest.mark.parametrize("fixed", [1, 4])
def test_a_file_that_fixes_the_size_of_a_batch_is_run_in_such_batches(samples, tmp_path, fixed):
    import keras
    import tensorflow as tf

    from qnn_robustness.quantization.integer_model.model import IntegerModel

    inputs = keras.Input(batch_shape=(fixed, *SHAPE))
    network = keras.Model(inputs, keras.layers.Dense(3)(keras.ops.reshape(inputs, (fixed, 64))))
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([samples[start : start + fixed]] for start in range(0, 40, fixed))
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (tmp_path / "fixed.tflite").write_bytes(converter.convert())
    model = TFLiteModel(tmp_path / "fixed.tflite", "reference")
    codes = model.quantize(samples)
    together = model.run(codes)
    alone = np.concatenate([model.run(code[None]) for code in codes])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, IntegerModel.from_file(tmp_path / "fixed.tflite").forward_quantized(codes))


def test_8_bit_images_become_the_integers_below_them(files):
    levels = np.arange(256, dtype=np.float32).reshape(4, *SHAPE) / np.float32(255)
    codes = TFLiteModel(files[0] / "int8_logits.tflite", "reference").quantize(levels)
    np.testing.assert_array_equal(codes.reshape(-1), np.arange(256) - 128)


@pytest.mark.parametrize("precision", ["int8", "int16"])
def test_the_softmax_output_sums_to_one(files, samples, precision):
    scores = TFLiteModel(files[0] / f"{precision}_softmax.tflite", "reference").predict(samples)
    assert scores.min() >= 0
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=4 / 256)


def test_no_samples_give_no_scores(files, samples):
    assert TFLiteModel(files[0] / "int8_logits.tflite", "reference").predict(samples[:0]).shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "kernels", "message"),
    [
        ("int8_logits.tflite", "refrence", "did you mean 'reference'"),
        ("int16_logits.tflite", "xnnpack", "no int16 kernels"),
        ("missing.tflite", "reference", "no such file"),
        ("broken.tflite", "reference", "not a .tflite file"),
        ("cut.tflite", "reference", "damaged .tflite file|convert"),
    ],
)
def test_wrong_files_and_kernels_end_in_one_line(files, name, kernels, message):
    folder, _ = files
    (folder / "broken.tflite").write_bytes(b"no flatbuffer at all")
    whole = (folder / "int8_logits.tflite").read_bytes()
    (folder / "cut.tflite").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=message) as caught:
        TFLiteModel(folder / name, kernels)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_calibration_without_black_and_white_clips_no_image(files, tmp_path):
    """The sample of most contrast is stretched: the input's codes reach from black to white."""
    from qnn_robustness.quantization.convert import convert

    grey = np.random.default_rng(0).uniform(0.4, 0.6, (5, *SHAPE)).astype(np.float32)
    (tmp_path / "grey.tflite").write_bytes(convert(files[1], "int8", grey))
    model = TFLiteModel(tmp_path / "grey.tflite", "reference")
    assert model.input_scale == pytest.approx(1 / 255, rel=1e-4)
    assert model.input_zero_point == -128
    with pytest.raises(UserError, match="calibration samples have one value each"):
        convert(files[1], "int8", np.full((5, *SHAPE), 0.5, np.float32))


def test_what_the_converter_refuses_is_one_line():
    import keras

    from qnn_robustness.quantization.convert import convert

    source = keras.Input((4, 4, 3))
    network = keras.Model(source, keras.layers.Dense(2)(keras.layers.Flatten()(keras.ops.negative(source))))
    with pytest.raises(UserError, match=r"^the TFLite converter cannot convert the network") as caught:
        convert(network, "int16", np.random.default_rng(0).uniform(size=(3, 4, 4, 3)).astype(np.float32))
    assert "\n" not in str(caught.value)
