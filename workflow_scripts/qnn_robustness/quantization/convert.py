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

    Raises UserError for a network that the converter cannot convert, and when the calibration samples have one value
    alone.
    """
    calibration = _from_black_to_white(calibration)
    network, scaling = taken_apart(network)
    if output == "softmax":
        network = keras.Model(network.inputs, keras.layers.Softmax(name="appended_softmax")(network.outputs[0]))
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    operators, kind = PRECISIONS[precision]
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [operators]
    converter.inference_input_type = converter.inference_output_type = kind
    converter.representative_dataset = lambda: _single_samples(scaling.apply(calibration))
    return converted(converter)


def converted(converter: tf.lite.TFLiteConverter) -> bytes:
    """Return the .tflite file.

    Raises UserError, with one line, for what the converter cannot convert.
    """
    try:
        return converter.convert()
    except Exception as error:  # the converter and what it is made of raise whatever they stumble over
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"the TFLite converter cannot convert the network ({type(error).__name__}: {reason})"
        ) from error


def _from_black_to_white(calibration: np.ndarray) -> np.ndarray:
    """Return the samples, and the one of most contrast stretched if none has black or none white.

    Without them the input scale would clip images.
    """
    if calibration.min() <= 0 and calibration.max() >= 1:
        return calibration
    flat = calibration.reshape(len(calibration), -1)
    sample = calibration[np.ptp(flat, axis=1).argmax()]
    if np.ptp(sample) == 0:
        raise UserError("calibration samples have one value each; expected images: raise calibration_samples")
    stretched = (sample - sample.min()) / np.ptp(sample)
    return np.concatenate([calibration, stretched[None]])


def _single_samples(samples: np.ndarray) -> Iterator[list[np.ndarray]]:
    for sample in samples:
        yield [sample[None]]


def converter_version() -> dict[str, Any]:
    """Return what the bytes of a converted file depend on beside network and calibration."""
    return {"tensorflow": tf.__version__, "keras": keras.__version__}
