"""MobileNetV1 (Howard et al. 2017, arXiv 1704.04861) as MLPerf Tiny (Banbury et al. 2021) has it for Visual Wake Words.

A quarter of the filters: 221,794 parameters for 96x96x3 and two classes.
"""

from __future__ import annotations

import keras
from keras import layers

L2 = 1e-4
WIDTH = 0.25
STEM = (32, 2)  # filters at full width, stride
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *(((512, 1),) * 5), (1024, 2), (1024, 1))


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return the untrained network: inputs float32 [N, H, W, C] in [0, 1], outputs logits [N, classes].

    The sides of the input are halved five times.
    """
    return separable_network("mobilenet_v1", input_shape, classes, WIDTH, STEM, BLOCKS)


def separable_network(
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    width: float,
    stem: tuple[int, int],
    blocks: tuple[tuple[int, int], ...],
) -> keras.Model:
    """Return a network of one convolution and depthwise separable blocks, each given as (filters, stride).

    `width` is the share of these filters that the network has.
    """
    inputs = keras.Input(input_shape)
    filters, stride = stem
    x = _activated(layers.Conv2D(int(filters * width), 3, stride, **_options("kernel"))(inputs))
    for filters, stride in blocks:
        x = _activated(layers.DepthwiseConv2D(3, stride, **_options("depthwise"))(x))
        x = _activated(layers.Conv2D(int(filters * width), 1, **_options("kernel"))(x))
    x = layers.AveragePooling2D((x.shape[1], x.shape[2]))(x)
    x = layers.Flatten()(x)
    logits = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, logits, name=name)


def _activated(x):
    return layers.ReLU()(layers.BatchNormalization()(x))


def _options(kind: str) -> dict:
    regularizer = keras.regularizers.L2(L2)
    return {"padding": "same", f"{kind}_initializer": "he_normal", f"{kind}_regularizer": regularizer}
