"""MobileNetV1 for 32x32 images: three halvings instead of five, seven blocks, half of the filters up to 512.

A second architecture on small images, such as ensemble adversarial training needs for its static sources.
"""

from __future__ import annotations

import keras

from qnn_robustness.models.mobilenet_v1 import separable_network

WIDTH = 0.5
STEM = (32, 1)
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return the untrained network: inputs float32 [N, H, W, C] in [0, 1], outputs logits [N, classes]."""
    return separable_network("mobilenet_v1_cifar", input_shape, classes, WIDTH, STEM, BLOCKS)
