"""Networks under attack as Foolbox models, one module a kind: inputs in [0, 1], outputs logits.

Each module has `load(path, kernels, view) -> foolbox.models.Model`. `integer_model` also has
`mismatches(path, kernels, inputs)`, the re-check against the interpreter. `vote` has both; its `path` are the files of
the three precisions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn_robustness.common.vote import VOTE

BOUNDS = (0.0, 1.0)


@dataclass(frozen=True)
class View:
    """How an attack sees a network; its decisions are the network's in every view.

    on_lattice: inputs are rounded to 8 bits, so that an attack searches among real images. temperature: logits are
    divided by it, or by an estimate from the clean samples (`jacobian`, see sources.temperature). estimator: how
    gradients pass the roundings of an integer network. clean: float32 [N, H, W, C] in [0, 1].
    """

    on_lattice: bool
    clean: np.ndarray
    temperature: float | str = 1
    estimator: str = "straight_through"


def module_for(source: str, access: str, kernels: str, has_model: bool = True) -> str:
    """Return the dotted name of the module which serves a source: a precision, or the vote of all.

    Gradients of an integer network come from the integer model. It also answers the queries of black-box
    attacks, several times as fast as the interpreter's reference and int16 kernels; the other int8 kernels
    are faster themselves. Where the integer model cannot be made of a file (`has_model` is false) the
    interpreter answers them.
    """
    if source == VOTE:
        kind = "vote"
    elif source == "float32":
        kind = "keras_network"
    elif access == "white_box" or (has_model and (source == "int16" or kernels == "reference")):
        kind = "integer_model"
    else:
        kind = "tflite_file"
    return f"{__name__}.{kind}"


def is_file(module: str) -> bool:
    """Return whether a module of `module_for` answers with the outputs of a .tflite file, and nothing else."""
    return module == f"{__name__}.tflite_file"
