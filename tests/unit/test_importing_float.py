"""Float32 networks from outside: the unit and the kind of output are brought to the project's; no code is run."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import brightness_network
import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import sha256_path
from qnn_robustness.common.scaling import InputScaling
from qnn_robustness.data.splits import to_unit
from qnn_robustness.models.float_network import load_network, predict
from qnn_robustness.quantization.importing.declaration import Declaration
from qnn_robustness.quantization.importing.description import describe
from qnn_robustness.quantization.importing.float_file import import_file, with_logits, without_rescaling
from qnn_robustness.quantization.importing.keras_file import load_keras_file
from qnn_robustness.quantization.own_unit import behind_scaling, taken_apart
from qnn_robustness.quantization.quantize import quantize
from qnn_robustness.quantization.tflite_model import TFLiteModel

TEST = brightness_network.images()
SHAPE = brightness_network.SHAPE
SUMMARY = {"classes": list(brightness_network.CLASSES), "image_shape": list(SHAPE)}
PIXELS = {"range": [0, 255], "mean": None, "deviation": None, "order": "rgb"}


def brightness(activation: str | None = "softmax") -> keras.Model:
    """A network for pixels up to 255 which knows dark images from light ones."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.DepthwiseConv2D(3, padding="same", depthwise_initializer="ones", name="depthwise")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    network = keras.Model(inputs, keras.layers.Dense(2, activation=activation, name="last")(x))
    middle = network.get_layer("depthwise")(np.full((1, *SHAPE), 127.5)).numpy().mean()
    slope = 0.01 * np.array([[-1.0, 1.0]] * 3)
    network.get_layer("last").set_weights([slope, -middle * slope.sum(axis=0)])
    return network


def imported(network: str | Path, output: str = "softmax", **entry) -> tuple[keras.Model, dict]:
    """Import a network and return it with its sidecar."""
    target = Path(network).with_name("imported.keras")
    entry = {"input": PIXELS, "output": output, "labels": None, "minimum_accuracy": None, **entry}
    declaration = Declaration.of("own", "float32", entry, SUMMARY)
    import_file(network, declaration, TEST, ["tensorflow"], target, target.with_suffix(".json"))
    return load_network(target), json.loads(target.with_suffix(".json").read_text())


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_the_imported_network_gives_the_logits_of_the_given_one(tmp_path: Path, suffix: str) -> None:
    given = tmp_path / f"given.{suffix}"
    brightness().save(given)
    network, sidecar = imported(given, minimum_accuracy=1.0)
    assert sidecar["clean_accuracy"]["accuracy"] == 1.0
    expected = brightness(activation=None)(TEST.samples.astype(np.float32)).numpy()
    np.testing.assert_allclose(predict(network, to_unit(TEST.samples)), expected, rtol=1e-4, atol=1e-4)


def test_integer_networks_are_quantized_in_the_given_unit(tmp_path: Path) -> None:
    brightness().save(tmp_path / "given.keras")
    imported(tmp_path / "given.keras")
    calibration = brightness_network.images(50, seed=1)
    calibration.samples[0, 0, 0], calibration.samples[0, 0, 1] = 0, 255
    paths = tmp_path / "int8.tflite", tmp_path / "int8.json"
    quantize(tmp_path / "imported.keras", "int8", calibration, "softmax", {}, *paths)
    model = TFLiteModel(paths[0], "reference")
    assert model.input_scale == pytest.approx(1.0, rel=1e-3)
    assert model.scaling == InputScaling((255.0,) * 3, (0.0,) * 3)
    assert (model.predict(to_unit(TEST.samples)).argmax(axis=1) == TEST.labels).all()


def test_scaling_in_front_of_a_network_is_what_the_numbers_say() -> None:
    network = brightness(activation=None)
    scaling = InputScaling((2.0, 3.0, 4.0), (1.0, -1.0, 0.5), True)
    samples = np.random.default_rng(0).random((3, *SHAPE), np.float32)
    outer = behind_scaling(network, scaling)
    np.testing.assert_allclose(outer(samples), network(scaling.apply(samples)), rtol=1e-4, atol=1e-4)
    inner, found = taken_apart(outer)
    assert found == scaling
    np.testing.assert_allclose(inner(samples), network(samples), rtol=1e-5, atol=1e-5)
    assert behind_scaling(network, InputScaling()) is network
    assert taken_apart(network) == (network, InputScaling())


def test_a_rescaling_in_front_becomes_part_of_the_scaling(tmp_path: Path) -> None:
    """Integer networks would else begin with operators for it."""
    inner = brightness()
    inputs = keras.Input(SHAPE)
    scaled = keras.layers.Rescaling(127.5, offset=127.5)(inputs)
    keras.Model(inputs, inner(scaled)).save(tmp_path / "given.keras")
    network, _ = imported(tmp_path / "given.keras", input={**PIXELS, "range": [-1, 1]}, minimum_accuracy=1.0)
    assert not any(isinstance(layer, keras.layers.Rescaling) for layer in network._flatten_layers())
    assert taken_apart(network)[1].span == (0.0, 255.0)
    expected = brightness(activation=None)(TEST.samples.astype(np.float32)).numpy()
    found = predict(network, to_unit(TEST.samples))
    np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], rtol=1e-3, atol=1e-3)


def test_a_rescaling_beside_other_layers_that_take_the_image_stays() -> None:
    inputs = keras.Input(SHAPE)
    both = keras.layers.Add()([keras.layers.Rescaling(2.0)(inputs), keras.layers.Conv2D(3, 1)(inputs)])
    network = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(both)))
    assert without_rescaling(network, InputScaling()) == (network, InputScaling())


def test_a_softmax_layer_at_the_end_is_seen_in_the_file(tmp_path: Path) -> None:
    logits = brightness(activation=None)
    logits.save(tmp_path / "logits.keras")
    keras.Model(logits.inputs, keras.layers.Softmax()(logits.outputs[0])).save(tmp_path / "softmax.keras")
    assert [describe(tmp_path / f"{name}.keras").softmax for name in ("logits", "softmax")] == [False, True]


def ending_in(function: str, kind: str) -> keras.Model:
    """The brightness network with a function at its end, in a layer of some kind."""
    if kind == "dense":
        return brightness(function)
    logits = brightness(activation=None)
    if kind == "nested":
        source = keras.Input(SHAPE)
        return keras.Model(source, brightness(function)(source))
    if kind == "operation":  # that no layer shows
        return keras.Model(logits.inputs, getattr(keras.ops, function)(logits.outputs[0]))
    layers = {"softmax": keras.layers.Softmax(), "sigmoid": keras.layers.Activation("sigmoid")}
    layer = layers[function] if kind == "layer" else keras.layers.Activation(function)
    outputs = layer(logits.outputs[0])
    return keras.Model(logits.inputs, keras.layers.Reshape((2,))(outputs) if kind == "reshaped" else outputs)


@pytest.mark.parametrize("function", ["softmax", "sigmoid"])
@pytest.mark.parametrize("kind", ["dense", "layer", "activation", "reshaped", "nested"])
def test_softmax_and_sigmoid_at_the_end_are_taken_off(function: str, kind: str) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (5, *SHAPE)).astype(np.float32)
    found = with_logits(ending_in(function, kind), "softmax" if function == "softmax" else "logits")
    np.testing.assert_array_equal(predict(found, samples), predict(brightness(activation=None), samples))


def shared(function: str, *, twice: bool) -> keras.Model:
    """A network whose last layer is used before as well, or is one of two ends of a network within."""
    source = keras.Input((4,))
    if twice:
        layer = keras.layers.Dense(4, activation=function)
        return keras.Model(source, layer(layer(source)))
    ends = [keras.layers.Dense(4, activation=function)(source) for _ in range(2)]
    outer = keras.Input((4,))
    return keras.Model(outer, keras.Model(source, ends)(outer)[1])


@pytest.mark.parametrize("function", ["softmax", "sigmoid"])
@pytest.mark.parametrize("twice", [True, False])
def test_layers_that_are_used_elsewhere_stay_as_they_are(function: str, twice: bool) -> None:
    network = shared(function, twice=twice)
    samples = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    given = predict(network, samples)
    logits = predict(with_logits(network, "softmax" if function == "softmax" else "logits"), samples)
    if function == "softmax":
        logits = np.exp(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    elif twice:
        logits = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(logits, given, rtol=1e-4)
    np.testing.assert_array_equal(predict(network, samples), given)


def test_the_logarithm_undoes_a_softmax_that_is_in_no_layer() -> None:
    samples = np.random.default_rng(0).integers(0, 256, (5, *SHAPE)).astype(np.float32)
    found = predict(with_logits(ending_in("softmax", "operation"), "softmax"), samples)
    difference = found - predict(brightness(activation=None), samples)
    np.testing.assert_allclose(difference - difference[:, :1], 0, atol=1e-4)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_network_for_one_sample_at_a_time_takes_any_number(tmp_path: Path, suffix: str, listed: bool) -> None:
    given = brightness(activation=None)
    fixed = keras.models.clone_model(given, input_tensors=keras.Input(batch_shape=(1, *SHAPE)))
    fixed.set_weights(given.get_weights())
    fixed = keras.Model([fixed.inputs[0]], fixed.outputs[0]) if listed else fixed
    fixed.save(tmp_path / f"given.{suffix}")
    samples = np.random.default_rng(0).integers(0, 256, (5, *SHAPE)).astype(np.float32)
    found = load_keras_file(tmp_path / f"given.{suffix}")
    assert found.input_shape == (None, *SHAPE)
    np.testing.assert_array_equal(predict(found, samples), predict(given, samples))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_network_of_mixed_precision_computes_in_that_of_its_weights(tmp_path: Path, policy: str) -> None:
    """The converter makes no integer network of float16; also a network within a network has the policy."""
    image = keras.Input((8, 8, 3))
    adapted = keras.layers.Normalization(dtype=policy)
    adapted.adapt(np.random.default_rng(1).random((9, 8, 8, 3)))
    hidden = keras.Input((8, 8, 4), dtype="float16")
    within = keras.Model(hidden, keras.layers.DepthwiseConv2D(3, padding="same", dtype=policy)(hidden))
    outputs = within(keras.layers.Conv2D(4, 3, padding="same", dtype=policy)(adapted(image)))
    outputs = outputs + outputs / 4
    outputs = keras.layers.GlobalAveragePooling2D(dtype=policy)(outputs)
    given = keras.Model(image, keras.layers.Dense(3, dtype="float32")(outputs))
    given.save(tmp_path / "given.keras")
    network = load_keras_file(tmp_path / "given.keras")
    samples = np.random.default_rng(0).random((5, 8, 8, 3), np.float32)
    np.testing.assert_allclose(network(samples), given(samples), atol=0.02)
    tf.lite.TFLiteConverter.from_keras_model(network).convert()
    assert keras.Model(network.inputs[0], network.layers[2].output)(samples).dtype == tf.float32


def test_outputs_behind_pooling_that_keeps_places_are_flattened(tmp_path: Path) -> None:
    given = brightness()
    outputs = keras.layers.Reshape((1, 1, 2))(given.outputs[0])
    keras.Model(given.inputs, outputs).save(tmp_path / "given.keras")
    network, _ = imported(tmp_path / "given.keras", minimum_accuracy=1.0)
    samples = to_unit(TEST.samples)
    expected = brightness(activation=None)(TEST.samples.astype(np.float32)).numpy()
    np.testing.assert_allclose(predict(network, samples), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1,), r"has one output for 2 classes; give it one for each"),
        ((2, 3), r"gives outputs of shape \[2, 3\]; flatten them"),
    ],
)
def test_outputs_that_are_none_for_each_class_are_one_line(tmp_path: Path, shape: tuple, message: str) -> None:
    source = keras.Input(SHAPE)
    outputs = keras.layers.Dense(int(np.prod(shape)))(keras.layers.Flatten()(source))
    keras.Model(source, keras.layers.Reshape(shape)(outputs)).save(tmp_path / "given.keras")
    with pytest.raises(UserError, match=rf"^models\.own\.files\.float32: {message}"):
        imported(tmp_path / "given.keras", output="logits")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": "logits"}, r"gives probabilities \(softmax\), declared is output: logits"),
        (
            {"input": {**PIXELS, "range": [0, 1]}, "minimum_accuracy": 0.9},
            r"50% of 20 test samples right; with input: \{range: \[0, 255\], order: rgb\} it would be 100%",
        ),
    ],
)
def test_wrong_declarations_end_in_one_line(tmp_path: Path, changes: dict, message: str) -> None:
    brightness().save(tmp_path / "given.keras")
    with pytest.raises(UserError, match=rf"^models\.own\.files\.float32: .*{message}"):
        imported(tmp_path / "given.keras", **changes)


# --- a SavedModel ---------------------------------------------------------------------------------------------


def exported(path: Path) -> None:
    brightness().export(path, verbose=False)


def saved(path: Path) -> None:
    tf.saved_model.save(brightness(), path)


def saved_with_a_signature(path: Path) -> None:
    network = brightness()
    module = tf.Module()
    module.network = network
    classify = tf.function(lambda image: {"scores": network(image)}, [tf.TensorSpec((None, *SHAPE), tf.float32)])
    tf.saved_model.save(module, path, signatures={"classify": classify})


@pytest.mark.parametrize("save", [exported, saved, saved_with_a_signature])
def test_a_saved_model_is_rebuilt(tmp_path: Path, save: Callable[[Path], None]) -> None:
    save(tmp_path / "given")
    network, sidecar = imported(tmp_path / "given", minimum_accuracy=1.0)
    assert sidecar["imported_sha256"] == sha256_path(tmp_path / "given")
    expected = brightness(activation=None)(TEST.samples.astype(np.float32)).numpy()
    np.testing.assert_allclose(predict(network, to_unit(TEST.samples)), expected, rtol=1e-4, atol=1e-4)
    described = describe(tmp_path / "given")
    assert (described.precision, described.shape, described.outputs, described.softmax) == ("float32", SHAPE, 2, True)


def test_a_saved_model_with_several_functions_is_asked_for_one(tmp_path: Path) -> None:
    module = tf.Module()
    module.f = tf.function(lambda x: 2 * x, [tf.TensorSpec((None, *SHAPE), tf.float32)])
    for names, message in ((["a", "b"], "a, b"), ([], "none")):
        tf.saved_model.save(module, tmp_path / "given", signatures=dict.fromkeys(names, module.f))
        with pytest.raises(UserError, match=rf"given: has the signatures {message}; save it with one, or"):
            imported(tmp_path / "given")


class _Writer(tf.Module):
    """A network that writes a file beside its answer."""

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32)])
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        tf.io.write_file("trace", "here")
        return tf.reduce_mean(x, [1, 2])


def test_a_saved_model_that_touches_files_is_not_run(tmp_path: Path) -> None:
    module = _Writer()
    tf.saved_model.save(module, tmp_path / "hostile", signatures=module.__call__.get_concrete_function())
    with pytest.raises(UserError, match=r"^models\.own\.files\.float32: .*hostile: has an operation 'WriteFile'"):
        imported(tmp_path / "hostile")


def test_folders_that_are_no_saved_model_end_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    with pytest.raises(UserError, match=r"given: is a folder without saved_model\.pb"):
        imported(tmp_path / "given")
    (tmp_path / "given/saved_model.pb").write_bytes(b"\x08\x01\x12\xff\xff")
    with pytest.raises(UserError, match="given: not a convertible SavedModel") as caught:
        imported(tmp_path / "given")
    assert "\n" not in str(caught.value)


# --- files that nobody vouches for --------------------------------------------------------------------------


def test_an_h5_file_of_keras_2_loads(tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    brightness().save(path)
    with h5py.File(path, "r+") as file:
        content = json.loads(file.attrs["model_config"])
        for layer in content["config"]["layers"]:
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(content)
    samples = TEST.samples.astype(np.float32)
    np.testing.assert_allclose(load_keras_file(path)(samples), brightness()(samples), rtol=1e-5)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_code_in_a_file_is_not_run(tmp_path: Path, suffix: str) -> None:
    path, trace = tmp_path / f"hostile.{suffix}", str(tmp_path / "trace")
    inputs = keras.Input(SHAPE)
    hostile = keras.layers.Lambda(lambda x: os.mkdir(trace) or x, output_shape=SHAPE)(inputs)
    keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(hostile))).save(path)
    shutil.rmtree(trace, ignore_errors=True)
    with pytest.raises(UserError, match=r"has a layer 'Lambda', which holds code"):
        load_keras_file(path)
    assert not Path(trace).exists()


class Twice(keras.layers.Layer):
    """A layer that Keras does not have."""

    def call(self, inputs):
        return 2 * inputs


def twice(inputs):
    """An activation that Keras does not have."""
    return 2 * inputs


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize(("layer", "name"), [(Twice(), "Twice"), (keras.layers.Activation(twice), "twice")])
def test_what_is_not_of_keras_is_named(tmp_path: Path, suffix: str, layer: keras.layers.Layer, name: str) -> None:
    inputs = keras.Input(SHAPE)
    keras.Model(inputs, keras.layers.Flatten()(layer(inputs))).save(tmp_path / f"own.{suffix}")
    with pytest.raises(
        UserError, match=rf"own\.{suffix}: has '{name}', which is not of Keras, .* give a SavedModel or"
    ):
        load_keras_file(tmp_path / f"own.{suffix}")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_damaged_files_end_in_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"given.{suffix}"
    brightness().save(path)
    content = path.read_bytes()
    for part in (0.02, 0.3, 0.6, 0.95):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(UserError, match=f"given.{suffix}: ") as caught:
            load_keras_file(path)
        assert "\n" not in str(caught.value)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnn_robustness.quantization.importing.keras_configuration.MAX_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}" + " " * 2**21)
    with pytest.raises(UserError, match="would take more than 1,048,576 bytes unpacked"):
        load_keras_file(tmp_path / "bomb.keras")


@pytest.mark.skipif("QNN_MODELS" not in os.environ, reason="needs trained networks (set QNN_MODELS to their folder)")
@pytest.mark.parametrize(("name", "classes"), [("pretrainedResnet", 10), ("vww_96", 2)])
def test_trained_networks_of_keras_2_load(name: str, classes: int) -> None:
    (path,) = Path(os.environ["QNN_MODELS"]).rglob(f"{name}.h5")
    network = with_logits(load_keras_file(path), "softmax")
    assert network.output_shape == (None, classes)
    logits = predict(network, np.random.default_rng(0).random((4, *network.input_shape[1:])).astype(np.float32))
    assert np.isfinite(logits).all()
    assert np.abs(logits.sum(axis=1) - 1).max() > 1e-3
