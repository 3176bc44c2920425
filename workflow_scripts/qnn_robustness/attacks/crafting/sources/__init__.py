"""Networks under attack as Foolbox models, one module a kind: inputs in [0, 1], outputs logits.

Each module has `load(path, kernels, on_lattice) -> foolbox.models.Model`. With `on_lattice` the network sees
its inputs rounded to 8 bits, so that an attack searches among real images. `integer_model` also has
`mismatches(path, kernels, inputs)`, the re-check against the interpreter.
"""

from __future__ import annotations

BOUNDS = (0.0, 1.0)


def module_for(source: str, access: str, kernels: str) -> str:
    """Return the dotted name of the module which serves a source precision.

    Gradients of an integer network come from the integer model. It also answers the queries of black-box
    attacks, several times as fast as the interpreter's reference and int16 kernels; the other int8 kernels
    are faster themselves.
    """
    if source == "float32":
        kind = "keras_network"
    elif access == "white_box" or source == "int16" or kernels == "reference":
        kind = "integer_model"
    else:
        kind = "tflite_file"
    return f"{__name__}.{kind}"
