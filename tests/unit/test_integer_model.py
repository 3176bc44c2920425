"""The integer model on whole networks: exactness, activations, scores, gradients, Foolbox, the check of a file."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import brightness_network
import keras
import numpy as np
import pytest
import tensorflow as tf
from converted_networks import NETWORKS, convert, randomize
from tflite_builder import Builder, add_tiled

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.integer_model.exactness import (
    check_exactness,
    comparable_kernels,
    exactness_table,
    interpreter_outputs,
    mismatch_message,
    random_inputs,
)
from qnn_robustness.quantization.integer_model.model import KERNELS, IntegerModel, as_foolbox

VARIANTS = [
    ("residual", "int8", None, False),
    ("residual", "int8", None, True),
    ("residual", "int16", None, False),
    ("residual", "int16", np.int32, False),
    ("mobile", "int8", None, False),
    ("mobile", "int16", None, False),
    ("pooled", "int8", None, False),
    ("pooled", "int16", None, False),
    ("various", "int8", None, False),
    ("various", "int16", None, False),
    ("rearranged", "int8", None, False),
    ("rearranged", "int16", None, False),
    ("spread", "int8", None, False),
    ("spread", "int16", None, False),
    ("normalized", "int8", None, False),
    ("recurrent", "int8", None, False),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@functools.cache
def floats(name: str) -> keras.Model:
    """The float32 network of a name, always with the same weights."""
    return randomize(NETWORKS[name]())


@pytest.fixture(scope="module")
def network(folder):
    """A function (name, precision, bias, float_ends) -> path that converts each network once."""

    def get(name: str, precision: str = "int8", bias: type | None = None, float_ends: bool = False) -> str:
        path = folder / f"{name}-{precision}-{bias}-{float_ends}.tflite"
        return str(path) if path.exists() else convert(floats(name), path, precision, bias, float_ends)

    return get


@pytest.mark.parametrize(("name", "precision", "bias", "float_ends"), VARIANTS)
def test_converted_networks_equal_the_interpreter(network, name, precision, bias, float_ends):
    path = network(name, precision, bias, float_ends)

    def inputs(_, model):
        uniform = np.random.default_rng(1).uniform(0, 1, (100, *model.input_shape)).astype(np.float32)
        return random_inputs(model, 100) | {"uniform": uniform}

    rows = exactness_table([(name, path, precision)], None, inputs)
    assert {row["kernels"] for row in rows} == set(KERNELS[precision])
    assert all(row["bytes_compared"] > 0 and row["differing_bytes"] == 0 for row in rows), rows


TRAINED = ("kws_ref_model", "pretrainedResnet_quant", "vww_96_int8")


@pytest.mark.skipif("QNN_MODELS" not in os.environ, reason="needs trained networks (set QNN_MODELS to their folder)")
@pytest.mark.parametrize("name", TRAINED)
def test_trained_networks_equal_the_interpreter(name):
    (path,) = Path(os.environ["QNN_MODELS"]).rglob(f"{name}.tflite")
    rows = exactness_table([(name, path, "int8")], None, lambda _, model: random_inputs(model, 60))
    assert len(rows) == 6
    assert all(row["differing_bytes"] == 0 for row in rows), rows


def test_intermediate_activations_equal_the_interpreter(network):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    path = network("mobile")
    model = IntegerModel.from_file(path, "reference")
    codes = random_inputs(model, 1)["random"]
    interpreter = Interpreter(
        path, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], codes)
    interpreter.invoke()
    activations = model.activations(codes)
    assert list(activations) == [f"{layer.operator.position} {layer.operator.name}" for layer in model.layers]
    for layer, computed in zip(model.layers, activations.values(), strict=True):
        np.testing.assert_array_equal(computed, interpreter.get_tensor(layer.output.index))


def test_logits_and_scores_are_the_dequantized_outputs(network):
    path = network("residual")
    model = IntegerModel.from_file(path, "builtin")
    samples = np.random.default_rng(0).uniform(0, 1, (300, *model.input_shape)).astype(np.float32)
    codes = interpreter_outputs(model, path, model.quantize(samples))
    np.testing.assert_array_equal(model.scores(samples), (codes.astype(np.float32) + 128) / 256)
    logits = model.logits(samples).numpy()
    position = [key for key in model.activations(model.quantize(samples)) if "FULLY_CONNECTED" in key][-1]
    dense = next(layer for layer in model.layers if layer.operator.name == "FULLY_CONNECTED").output
    expected = model.activations(model.quantize(samples))[position].astype(np.float32) - dense.zero_point
    np.testing.assert_allclose(logits, expected * dense.scale, rtol=1e-6)


@pytest.mark.parametrize(("name", "precision", "bias", "float_ends"), VARIANTS)
def test_gradients_agree_with_the_float_network(network, name, precision, bias, float_ends):
    """Only 8-bit weights separate int16 from float32; int8 adds rounding of every activation."""
    path = network(name, precision, bias, float_ends)
    x = tf.constant(np.random.default_rng(3).uniform(0.1, 0.9, (24, *floats(name).input_shape[1:])), tf.float32)

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = function(x)
            difference = outputs[:, 0] - outputs[:, 1]
        return tape.gradient(difference, x).numpy().reshape(len(x), -1)

    expected = gradient(_float_logits(name))
    for kernels in KERNELS[precision]:
        computed = gradient(IntegerModel.from_file(path, kernels).logits)
        norms = np.linalg.norm(computed, axis=1) * np.linalg.norm(expected, axis=1)
        cosines = np.sum(computed * expected, axis=1) / norms
        assert np.median(cosines) > (0.98 if precision == "int16" else 0.7)
        lengths = np.linalg.norm(computed, axis=1) / np.linalg.norm(expected, axis=1)
        assert abs(np.median(lengths) - 1) < (0.05 if precision == "int16" else 0.3)


def _float_logits(name: str) -> keras.Model:
    """The float32 network up to its logits."""
    model = floats(name)
    dense = model.layers[-1]
    if dense.activation is keras.activations.linear:
        return model
    features = keras.Model(model.input, dense.input)
    return lambda x: tf.matmul(features(x), dense.kernel) + dense.bias


def test_foolbox_attacks_the_integer_network(network):
    import foolbox

    model = IntegerModel.from_file(network("residual"))
    fmodel = as_foolbox(model)
    x = tf.constant(np.random.default_rng(0).uniform(0.2, 0.8, (20, *model.input_shape)).astype(np.float32))
    labels = tf.argmax(fmodel(x), axis=-1)
    _, clipped, success = foolbox.attacks.LinfPGD(steps=20)(fmodel, x, labels, epsilons=0.4)
    fooled = np.argmax(model.logits(clipped), axis=1) != labels.numpy()
    assert success.numpy().any()
    np.testing.assert_array_equal(fooled, success.numpy())


def test_unknown_kernels_and_estimator_are_refused(network):
    path = network("residual", "int16")
    with pytest.raises(UserError, match="kernels 'xnnpack' do not exist for int16"):
        IntegerModel.from_file(path, "xnnpack")
    with pytest.raises(UserError, match="did you mean 'smooth'"):
        IntegerModel.from_file(path, estimator="smoth")


def test_kernel_sets_that_cannot_run_the_file_or_are_not_established_are_not_compared(network, tmp_path, monkeypatch):
    whole, tiled = network("residual"), brightness_network.save(tmp_path / "tiled.tflite", behind=add_tiled)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert comparable_kernels(whole, "int8", "reference") == ["reference", "builtin", "xnnpack"]
    assert "reference" not in comparable_kernels(tiled, "int8", "xnnpack")
    assert "reference" in comparable_kernels(tiled, "int8", "reference"), "what is attacked has to run"
    builder = Builder()
    source, output = builder.tensor(np.int8, [1, 4, 4, 3], 0.1), builder.tensor(np.int8, [1, 3], 0.5)
    axes = builder.constant(np.array([1, 2], np.int32))
    builder.operator("SUM", [source, axes], [output], "ReducerOptions")
    summed = builder.save(tmp_path / "sum.tflite", [source], [output])
    assert comparable_kernels(summed, "int8", "builtin") == ["builtin", "xnnpack"], "reference runs it, and sums wrong"
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert comparable_kernels(whole, "int8", "reference") == ["reference"]


def test_a_mismatch_is_counted_and_worded(network, monkeypatch):
    path = network("residual")
    model = IntegerModel.from_file(path, "builtin")
    codes = random_inputs(model, 8)["random"]
    outputs = model.forward_quantized(codes)
    outputs[3, 2] ^= 1
    monkeypatch.setattr(model, "forward_quantized", lambda _: outputs)
    assert check_exactness(model, path, codes) == 1
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert "use kernels `reference`" in mismatch_message(model, 1)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert "report it" in mismatch_message(model, 1)
