"""A small network in the style of VGG (Simonyan and Zisserman 2014, arXiv 1409.1556) for 32x32 images.

Three stages of two 3x3 convolutions with batch normalisation, each ended by max pooling, and one hidden dense layer.
"""

from __future__ import annotations

import keras
from keras import layers

L2 = 1e-4
STAGES = (32, 64, 64)
HIDDEN = 64
DROPOUT = 0.5


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return the untrained network: inputs float32 [N, H, W, C] in [0, 1], outputs logits [N, classes]."""
    inputs = x = keras.Input(input_shape)
    for filters in STAGES:
        for _ in range(2):
            x = layers.Conv2D(
                filters,
                3,
                padding="same",
                kernel_initializer="he_normal",
                kernel_regularizer=keras.regularizers.L2(L2),
            )(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(HIDDEN, activation="relu", kernel_initializer="he_normal")(x)
    x = layers.Dropout(DROPOUT)(x)
    logits = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, logits, name="vgg_cifar")
