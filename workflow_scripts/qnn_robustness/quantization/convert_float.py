"""A Keras network as a .tflite file in float32."""

from __future__ import annotations

import keras
import tensorflow as tf

from qnn_robustness.quantization.convert import converted
from qnn_robustness.quantization.own_unit import taken_apart


def convert_float(network: keras.Model) -> bytes:
    """Return the .tflite file of `network`, unquantized, from inputs in its own unit to logits.

    Convolutions and dense layers take most of the file, batch normalisation is folded into them.

    Raises UserError for a network that the converter cannot convert.
    """
    return converted(tf.lite.TFLiteConverter.from_keras_model(taken_apart(network)[0]))
