"""A float32 network made for another unit than [0, 1], behind a layer that scales its input."""

from __future__ import annotations

import keras
import numpy as np

from qnn_robustness.common.scaling import InputScaling

SCALING_LAYER, NETWORK_LAYER = "input_scaling", "own_unit_network"


def behind_scaling(network: keras.Model, scaling: InputScaling) -> keras.Model:
    """Return a network for inputs in [0, 1] that scales them and calls `network`; with the identity, `network` itself.

    The scaling is a 1x1 convolution, which mixes no channels but may reverse them.
    """
    if scaling.is_identity:
        return network
    shape = network.input_shape[1:]
    channels = shape[-1]
    kernel = np.eye(channels) * np.broadcast_to(scaling.gain, channels)
    kernel = kernel[::-1] if scaling.reverse else kernel
    layer = keras.layers.Conv2D(channels, 1, trainable=False, name=SCALING_LAYER)
    inputs = keras.Input(shape)
    inner = keras.Model(network.inputs[0], network.outputs[0], name=NETWORK_LAYER)
    outer = keras.Model(inputs, inner(layer(inputs)))
    layer.set_weights([kernel[None, None].astype(np.float32), np.broadcast_to(scaling.offset, channels)])
    return outer


def taken_apart(network: keras.Model) -> tuple[keras.Model, InputScaling]:
    """Return the network in its own unit, and its scaling: the inverse of `behind_scaling`."""
    names = [layer.name for layer in network.layers]
    if names[1:] != [SCALING_LAYER, NETWORK_LAYER]:
        return network, InputScaling()
    kernel, offset = network.get_layer(SCALING_LAYER).get_weights()
    gain = kernel[0, 0].sum(axis=0)
    reverse = len(gain) > 1 and kernel[0, 0, 0, 0] == 0
    scaling = InputScaling(tuple(gain.tolist()), tuple(offset.tolist()), bool(reverse))
    return network.get_layer(NETWORK_LAYER), scaling
