"""Post-training quantization of a Keras network by the TFLite converter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.own_unit import taken_apart

PRECISIONS = {
    "int8": (tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8),
    "int16": (tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8, tf.int16),
}


def convert(network: keras.Model, precision: str, calibration: np.ndarray, output: str = "logits") -> bytes:
    """Return the .tflite file of `network` with integer inputs, outputs and arithmetic.

    `calibration` (float32 [N, H, W, C] in [0, 1]) sets the ranges of the activations. `output` is `logits`
    (as the network gives) or `softmax` (one appended to the graph). The file takes the network's own unit:
    a layer that scales the input (`own_unit`) is left out.

    Raises UserError when the calibration samples do not span [0, 1]: the input scale would clip images.
    """
    if calibration.min() > 0 or calibration.max() < 1:
        raise UserError(
            f"calibration samples span {calibration.min():.3f} to {calibration.max():.3f}; expected black and white "
            "pixels among them: raise calibration_samples"
        )
    network, scaling = taken_apart(network)
    if output == "softmax":
        network = keras.Model(network.inputs, keras.layers.Softmax()(network.outputs[0]))
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    operators, kind = PRECISIONS[precision]
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [operators]
    converter.inference_input_type = converter.inference_output_type = kind
    converter.representative_dataset = lambda: _single_samples(scaling.apply(calibration))
    return converter.convert()


def _single_samples(samples: np.ndarray) -> Iterator[list[np.ndarray]]:
    for sample in samples:
        yield [sample[None]]


def converter_version() -> dict[str, Any]:
    """Return what the bytes of a converted file depend on beside network and calibration."""
    return {"tensorflow": tf.__version__, "keras": keras.__version__}
