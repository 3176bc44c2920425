"""What a network's file says about itself, read without running it. Needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import precision_of, read_graph
from qnn_robustness.quantization.importing.integer_file import ends_in_softmax, representable_span
from qnn_robustness.quantization.importing.keras_configuration import layers, read_configuration
from qnn_robustness.quantization.importing.saved_model import converted, is_saved_model


@dataclass(frozen=True)
class Description:
    """`shape` is [H, W, C]; `outputs` and `span` (the values that the input can represent) are None if unknown."""

    precision: str
    shape: tuple[int, int, int]
    outputs: int | None
    softmax: bool
    span: tuple[float, float] | None


def describe(path: str | Path) -> Description:
    """Return what a .tflite, .keras or .h5 file or a SavedModel says about its network.

    Raises UserError, with one line, when the file is missing, damaged or of another type, or takes no images.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if is_saved_model(path):
        with converted(path) as file:
            described = _tflite(file)
    else:
        described = _tflite(path) if is_tflite(path) else _keras(path)
    if len(described.shape) != 3 or min(described.shape) < 1 or described.shape[2] not in (1, 3):
        shape = ", ".join(str(size) if size > 0 else "any" for size in described.shape)
        raise UserError(f"{path}: takes inputs of shape [{shape}]; images are [height, width, 1 or 3], of one size")
    return described


def is_tflite(path: str | Path) -> bool:
    """Return whether a file is, or is called, a .tflite file."""
    with Path(path).open("rb") as stream:
        return Path(path).suffix == ".tflite" or stream.read(8)[4:] == b"TFL3"


def _tflite(path: Path) -> Description:
    graph = read_graph(path)
    precision = precision_of(graph)
    outputs = graph.outputs[0].shape
    span = None if precision == "float32" else representable_span(graph)
    return Description(
        precision, graph.inputs[0].shape[1:], outputs[-1] if outputs else None, ends_in_softmax(graph), span
    )


def _keras(path: Path) -> Description:
    try:
        records = [
            (record["class_name"], record["config"])
            for record in layers(read_configuration(path))
            if isinstance(record.get("config"), dict)
        ]
        shapes = [config.get("batch_shape") or config.get("batch_input_shape") for _, config in records]
        shape = _of_one_sample(path, next(shape for shape in shapes if shape))
        activations = [
            "softmax" if name == "Softmax" else str(config["activation"])
            for name, config in records
            if name == "Softmax" or "activation" in config
        ]
    except UserError:
        raise
    except StopIteration:
        raise UserError(f"{path}: does not say which input it takes; save it with an input layer") from None
    except Exception as error:  # h5py and zipfile raise whatever they stumble over
        raise UserError(f"{path}: not a readable Keras file ({type(error).__name__}: {error})") from error
    softmax = bool(activations) and activations[-1] == "softmax"
    return Description("float32", shape, None, softmax, None)


def _of_one_sample(path: Path, shape: Any) -> tuple[int, ...]:
    """Return a shape in a Keras file without the number of samples; 0 is any size."""
    if not isinstance(shape, list) or not all(size is None or type(size) is int for size in shape):
        raise UserError(
            f"{path}: says that it takes inputs of shape {str(shape)[:80]}; expected numbers such as [None, 32, 32, 3]"
        )
    return tuple(size or 0 for size in shape[1:])
