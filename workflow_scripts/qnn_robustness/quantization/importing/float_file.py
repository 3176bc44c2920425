"""Import of a float32 network: what comes out takes [0, 1], gives logits and loads without any code of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import atomic_path, sha256_file, sha256_path, write_json
from qnn_robustness.common.scaling import InputScaling
from qnn_robustness.data.splits import Split, to_unit
from qnn_robustness.models.float_network import predict
from qnn_robustness.quantization.importing.declaration import CHECKED, Declaration
from qnn_robustness.quantization.importing.description import is_tflite
from qnn_robustness.quantization.importing.float_tflite import rebuild
from qnn_robustness.quantization.importing.keras_file import load_keras_file
from qnn_robustness.quantization.importing.saved_model import converted, is_saved_model
from qnn_robustness.quantization.own_unit import behind_scaling

TOLERANCE = 1e-3  # of the sum of probabilities
SMALLEST_PROBABILITY = 1e-30
WEIGHTED = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
# Layers that may follow the function at the end of a network and change none of its values.
PASSING = (keras.layers.Reshape, keras.layers.Flatten, keras.layers.Dropout)


def import_file(
    file: str | Path,
    declaration: Declaration,
    test: Split,
    kernels: Sequence[str],
    network_path: str | Path,
    sidecar_path: str | Path,
) -> None:
    """Check a float32 network and write it as .keras with logits for inputs in [0, 1], and a sidecar (JSON).

    A final softmax is taken off; where it cannot be found, the logarithm of the probabilities stands for the
    logits (they differ by a constant for each sample). So is a final sigmoid of each class, which saturates and has the
    same arg-max without. The sidecar has the SHA-256 of the file as it was given
    and the clean accuracy on some test samples.

    Raises UserError, with one line, for a file that is damaged, holds code, or is not what was declared.
    """
    try:
        network = load(file)
    except UserError as error:
        raise UserError(f"{declaration.place}: {error}") from error
    network = flat(network)
    declaration.check_ends(network.input_shape[1:], network.output_shape[1:])
    raw = declaration.scaling.apply(to_unit(test.samples[:CHECKED]))
    given = predict(network, raw)
    if not np.isfinite(given).all():
        raise UserError(f"{declaration.place}: gives outputs that are no numbers")
    declaration.check_output(are_probabilities(given))
    network = with_logits(network, declaration.output)
    logits = predict(network, raw)
    accuracy = declaration.check_accuracy(lambda inputs: predict(network, inputs), test)
    with atomic_path(network_path) as partial:
        behind_scaling(*without_rescaling(network, declaration.scaling)).save(partial)
    write_json(
        sidecar_path,
        {
            "precision": declaration.precision,
            "imported_from": Path(file).name,
            "imported_sha256": sha256_path(file),
            "parameters": network.count_params(),
            "clean_accuracy": {"kernels": kernels[0], "accuracy": accuracy},
            "largest_logit": float(np.abs(logits).max()),
            "sha256": sha256_file(network_path),
        },
    )


def load(file: str | Path) -> keras.Model:
    """Load a float32 network from a .keras, .h5 or .tflite file or the folder of a SavedModel.

    Raises UserError, with one line, for a file that is damaged or holds code.
    """
    if is_saved_model(file):
        with converted(file) as tflite:
            return rebuild(tflite)
    return rebuild(file) if is_tflite(file) else load_keras_file(file)


def flat(network: keras.Model) -> keras.Model:
    """Return a network of outputs [N, K], also for one of [N, 1, 1, K]."""
    places = network.output_shape[1:-1]
    if not places or set(places) != {1}:
        return network
    return keras.Model(network.inputs[0], keras.layers.Flatten(name="flat_outputs")(network.outputs[0]))


def without_rescaling(network: keras.Model, scaling: InputScaling) -> tuple[keras.Model, InputScaling]:
    """Take a first layer Rescaling off; return the rest, and the scaling from [0, 1] to what the rest takes.

    Behind it the integer networks would start with operators that scale, which they need not have.
    """
    steps = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    if len(steps) < 2 or not isinstance(steps[0], keras.layers.Rescaling):
        return network, scaling
    slope, intercept = steps[0].scale, steps[0].offset
    if np.ndim(slope) or np.ndim(intercept) or slope <= 0 or len(network.inputs[0].shape) != 4:
        return network, scaling
    try:
        rest = keras.Model(steps[0].output, network.outputs[0])
    except ValueError:  # the image goes to other layers, too
        return network, scaling
    return rest, scaling.after(float(slope), float(intercept))


def are_probabilities(outputs: np.ndarray) -> bool:
    """Return whether outputs [N, K] look like those of a softmax."""
    return bool(outputs.min() >= 0 and np.abs(outputs.sum(axis=1) - 1).max() < TOLERANCE)


def with_logits(network: keras.Model, output: str) -> keras.Model:
    """Return a network of the logits: without its final softmax, or a logarithm behind it; without a final sigmoid.

    `network` itself stays as it is.
    """
    if output != "softmax":
        return _without(network, "sigmoid") or network
    if bare := _without(network, "softmax"):
        return bare
    source = keras.Input(network.input_shape[1:])  # the network becomes one layer: names within it may be the same
    return keras.Model(source, keras.ops.log(keras.ops.maximum(network(source), SMALLEST_PROBABILITY)))


def _without(network: keras.Model, function: str) -> keras.Model | None:
    """Return a network without the function at its end, also at that of a network within; None if it is not there."""
    layer, node, _ = network.outputs[0]._keras_history
    if not isinstance(layer, keras.layers.Layer) or len(layer._inbound_nodes[node].input_tensors) != 1:
        return None
    source = layer._inbound_nodes[node].input_tensors[0]
    activation = getattr(getattr(layer, "activation", None), "__name__", None)
    ends = activation == function or (isinstance(layer, keras.layers.Softmax) and function == "softmax")
    if ends and isinstance(layer, keras.layers.Softmax | keras.layers.Activation):
        return keras.Model(network.inputs[0], source)
    if ends and isinstance(layer, WEIGHTED):
        return keras.Model(network.inputs[0], _linear(layer, source))
    if isinstance(layer, keras.Model) and len(layer.outputs) == 1:
        inner = _without(layer, function)
        return inner and keras.Model(network.inputs[0], inner(source))
    if isinstance(layer, PASSING) or (isinstance(layer, keras.layers.Activation) and activation == "linear"):
        before = _without(keras.Model(network.inputs[0], source), function)
        return before and keras.Model(network.inputs[0], layer(before.outputs[0]))
    return None


def _linear(layer: keras.layers.Layer, source: keras.KerasTensor) -> keras.KerasTensor:
    """Return what a layer gives without its activation; the layer itself may be used elsewhere, too."""
    entry = {**layer.get_config(), "activation": "linear", "name": f"{layer.name}_logits"}
    copy = type(layer).from_config(entry)
    outputs = copy(source)
    copy.set_weights(layer.get_weights())
    return outputs
