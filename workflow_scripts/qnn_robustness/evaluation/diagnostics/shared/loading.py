"""Load every precision of a trained network for the diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import eagerpy as ep
import numpy as np
import tensorflow as tf
from foolbox.models import Model

from qnn_robustness.attacks.crafting.array_model import ArrayModel
from qnn_robustness.attacks.crafting.sources import View, integer_model, keras_network
from qnn_robustness.common.errors import UserError
from qnn_robustness.data.splits import load_split, stratified, to_unit
from qnn_robustness.evaluation.diagnostics.shared.layers import FloatLayers, matched_layers
from qnn_robustness.evaluation.diagnostics.shared.subject import Network, Subject
from qnn_robustness.models.float_network import load_network
from qnn_robustness.quantization.flatbuffer import read_graph
from qnn_robustness.quantization.integer_model.exactness import check_exactness, mismatch_message
from qnn_robustness.quantization.integer_model.model import IntegerModel


def load_subject(
    float_path: str | Path,
    integer_paths: Mapping[str, str | Path],
    kernels: Mapping[str, str],
    test_path: str | Path,
    samples: int,
) -> Subject:
    """Return the float32 network (.keras), its integer versions (.tflite by precision) and samples of the test split.

    Every integer model is compared with the interpreter on the samples.

    Raises UserError when one output byte differs, when the test split has fewer samples, or for unusable files.
    """
    test = load_split(test_path)
    try:
        places = stratified(test.labels, samples)
    except UserError as error:
        raise UserError(f"diagnostics.samples: test split: {error}") from None
    inputs = to_unit(test.samples[places])
    view = View(on_lattice=False, clean=inputs)
    float_layers = cache(lambda: FloatLayers(float_graph(float_path)))
    networks = {
        "float32": Network(
            _arrays(keras_network.load(float_path, "tensorflow", view)),
            activations=lambda x: float_layers()(x),
        )
    }
    for precision, path in integer_paths.items():
        model = IntegerModel.from_file(path, kernels[precision])
        if not model.scaling.is_identity:
            raise UserError(
                f"{path}: made for inputs in another unit than [0, 1]; set diagnose: false for its experiments"
            )
        differing = check_exactness(model, path, inputs)
        if differing:
            raise UserError(mismatch_message(model, differing))

        def activations(x: np.ndarray, model: IntegerModel = model, path: str | Path = path) -> dict[str, np.ndarray]:
            return _integer_activations(model, x, matched_layers(float_layers().graph, read_graph(path)))

        seen = _arrays(integer_model.attacked(model, view))
        networks[precision] = Network(seen, float(model.input_scale), activations)
    return Subject(networks, inputs, test.labels[places], places)


def float_graph(path: str | Path) -> bytes:
    """Convert a .keras network to a float32 .tflite file: the converter of the integer files, without quantization."""
    return tf.lite.TFLiteConverter.from_keras_model(load_network(path)).convert()


def _arrays(model: Model) -> ArrayModel:
    return ArrayModel(model, ep.astensor(tf.zeros(1)))


def _integer_activations(model: IntegerModel, inputs: np.ndarray, layers: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return the real values of each layer, by the names that `layers` gives to positions of operators."""
    codes = model.activations(model.quantize(inputs))
    first = {layer.operator.position: layer for layer in model.layers if layer.place == 0}
    chosen = {name: first[position] for name, position in layers.items()}
    return {
        name: (codes[layer.name].astype(np.float32) - layer.output.zero_point) * layer.output.scale
        for name, layer in chosen.items()
        if len(codes[layer.name]) == len(inputs)
    }
