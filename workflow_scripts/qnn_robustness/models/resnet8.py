"""ResNet-8 of MLPerf Tiny (Banbury et al. 2021): three residual stages of 16, 32 and 64 filters, 78,666 parameters."""

from __future__ import annotations

import keras
from keras import layers

L2 = 1e-4


def _convolution(x, filters: int, kernel: int, strides: int = 1):
    return layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.L2(L2),
    )(x)


def _stage(x, filters: int, strides: int):
    y = layers.ReLU()(layers.BatchNormalization()(_convolution(x, filters, 3, strides)))
    y = layers.BatchNormalization()(_convolution(y, filters, 3))
    if strides != 1:
        x = _convolution(x, filters, 1, strides)
    return layers.ReLU()(layers.Add()([x, y]))


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return the untrained network: inputs float32 [N, H, W, C] in [0, 1], outputs logits [N, classes]."""
    inputs = keras.Input(input_shape)
    x = layers.ReLU()(layers.BatchNormalization()(_convolution(inputs, 16, 3)))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        x = _stage(x, filters, strides)
    x = layers.AveragePooling2D((x.shape[1], x.shape[2]))(x)
    x = layers.Flatten()(x)
    logits = layers.Dense(classes, kernel_initializer="he_normal", name="logits")(x)
    return keras.Model(inputs, logits, name="resnet8")
