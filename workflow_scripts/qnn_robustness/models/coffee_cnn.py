"""The network for coffee leaves of Costa and Pinto (EuroS&P 2024, arXiv 2404.05688).

Four convolutions without padding and three dense layers: 250,436 parameters for 224x224x3 and four classes. The paper
names the rates of dropout, not their places: here after the convolutions and after the first dense layer.
"""

from __future__ import annotations

import keras
from keras import layers

CONVOLUTION_DROPOUT = 0.2
DENSE_DROPOUT = 0.5


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return the untrained network: inputs float32 [N, H, W, C] in [0, 1], outputs logits [N, classes].

    Sides of at least 140 pixels leave something to the last convolution; Keras raises ValueError otherwise.
    """
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(32, 8, strides=4, activation="relu")(inputs)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(64, 3, strides=2, activation="relu")(x)
    x = layers.Conv2D(128, 3, activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    x = layers.Dropout(CONVOLUTION_DROPOUT)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dropout(DENSE_DROPOUT)(x)
    x = layers.Dense(32, activation="relu")(x)
    logits = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, logits, name="coffee_cnn")
