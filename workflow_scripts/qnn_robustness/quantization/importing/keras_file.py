"""Loading Keras networks from files that nobody vouches for: .keras and the older .h5."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.importing.keras_configuration import layers, read_configuration

_UNKNOWN = re.compile(r"(?:Could not locate [\w ]+|Unknown [\w ]+:) '([^']+)'")  # in messages of Keras
# Layers that hold code, or fetch a graph from elsewhere. Keras refuses them too; nothing is left to its version.
REFUSED = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
LOW = ("float16", "bfloat16")  # what policies of mixed precision compute in


class _OldDepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """Reads a configuration of Keras 2, which has `groups`; makes a layer of Keras 3."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> keras.layers.DepthwiseConv2D:
        if config.pop("groups", 1) != 1:
            raise ValueError("DepthwiseConv2D with groups other than 1")
        return keras.layers.DepthwiseConv2D.from_config(config)


def load_keras_file(path: str | Path) -> keras.Model:
    """Load a .keras or .h5 file without running any code it may hold.

    Raises UserError, with one line, when the file is missing, damaged, of another type, holds code or custom
    layers, or has not one image input and one output.
    """
    path = Path(path)
    try:
        for layer in layers(read_configuration(path)):
            if layer["class_name"] in REFUSED or "pickle" in str(layer.get("module")):
                raise UserError(f"{path}: has a layer '{layer['class_name']}', which holds code; replace it")
        network = keras.saving.load_model(
            path, compile=False, safe_mode=True, custom_objects={"DepthwiseConv2D": _OldDepthwiseConv2D}
        )
        single = isinstance(network, keras.Model) and len(network.inputs) == len(network.outputs) == 1
        if single and network.inputs[0].shape[0] is not None:
            network = _for_any_batch(network)
        if single and any(layer.compute_dtype in LOW for layer in network._flatten_layers()):
            network = _in_float32(network)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # h5py, zipfile and Keras raise whatever they stumble over
        if unknown := _UNKNOWN.search(str(error)):
            raise UserError(
                f"{path}: has '{unknown[1]}', which is not of Keras, and no file's code is run; give a SavedModel or a "
                ".tflite file of the network"
            ) from error
        reason = " ".join(str(error).split())[:400]
        raise UserError(f"{path}: not a loadable Keras network ({type(error).__name__}: {reason})") from error
    if not single:
        raise UserError(f"{path}: is no network with one input and one output")
    return network


def _in_float32(network: keras.Model) -> keras.Model:
    """Return a network saved under a policy of mixed precision such that it computes in that of its weights."""

    def rebuilt(operation: keras.Operation) -> keras.Operation:
        own = {"dtype": "float32"} if isinstance(operation, keras.Layer) else {}
        return type(operation).from_config({**operation.get_config(), **own})

    copy = keras.models.clone_model(network, clone_function=rebuilt, recursive=True)
    _take_weights(copy, network)
    return copy


def _take_weights(copy: keras.Model, network: keras.Model) -> None:
    copy.set_weights(network.get_weights())
    for layer in copy._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):  # computes with constants that it makes of its weights
            layer.finalize_state()


def _for_any_batch(network: keras.Model) -> keras.Model:
    """Return a network without the number of samples that its input is fixed to: attacks take as many as are left."""
    source = network.inputs[0]
    plain = keras.Model(source, network.outputs[0])  # its input may be in a list or a dictionary
    copy = keras.models.clone_model(plain, input_tensors=keras.Input(source.shape[1:], dtype=source.dtype))
    _take_weights(copy, plain)
    copy(np.zeros((2, *source.shape[1:]), np.float32))  # a number of samples may be fixed within, too
    return copy
