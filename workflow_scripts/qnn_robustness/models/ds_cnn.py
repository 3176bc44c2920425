"""DS-CNN (Zhang et al. 2017, arXiv 1711.07128) as MLPerf Tiny uses it for keyword spotting (Banbury et al. 2021).

One convolution and four depthwise separable blocks of 64 filters: 24,908 parameters for 49x10x1 and twelve classes.
"""

from __future__ import annotations

import keras
from keras import layers

L2 = 1e-4
FILTERS = 64
BLOCKS = 4
FIRST_KERNEL = (10, 4)  # frames, coefficients
FIRST_DROPOUT = 0.2
LAST_DROPOUT = 0.4


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return the untrained network: inputs float32 [N, frames, coefficients, 1] in [0, 1], outputs logits."""
    inputs = keras.Input(input_shape)
    x = _activated(_convolution(inputs, FIRST_KERNEL, strides=2))
    x = layers.Dropout(FIRST_DROPOUT)(x)
    for _ in range(BLOCKS):
        depthwise = layers.DepthwiseConv2D(3, padding="same", depthwise_regularizer=keras.regularizers.L2(L2))
        x = _activated(depthwise(x))
        x = _activated(_convolution(x, 1))
    x = layers.Dropout(LAST_DROPOUT)(x)
    x = layers.AveragePooling2D((x.shape[1], x.shape[2]))(x)
    x = layers.Flatten()(x)
    logits = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, logits, name="ds_cnn")


def _convolution(x, kernel: int | tuple[int, int], strides: int = 1):
    return layers.Conv2D(FILTERS, kernel, strides, padding="same", kernel_regularizer=keras.regularizers.L2(L2))(x)


def _activated(x):
    return layers.ReLU()(layers.BatchNormalization()(x))
