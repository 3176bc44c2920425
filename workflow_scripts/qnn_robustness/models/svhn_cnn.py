"""A plain convolutional network for SVHN, in the place of that of Ayaz et al. (IJCNN 2023, arXiv 2304.12829).

The paper gives no list of layers. This one has three stages of two 3x3 convolutions with batch normalisation, each
ended by max pooling, and a global mean: 206,122 parameters for 32x32x3 and ten classes. Its int8 file has 220 KB; the
network of the paper has about 410 KB.
"""

from __future__ import annotations

import keras
from keras import layers

STAGES = (32, 64, 96)
DROPOUT = 0.2


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return the untrained network: inputs float32 [N, H, W, C] in [0, 1], outputs logits [N, classes]."""
    inputs = x = keras.Input(input_shape)
    for filters in STAGES:
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(DROPOUT)(layers.GlobalAveragePooling2D()(x))
    logits = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, logits, name="svhn_cnn")
