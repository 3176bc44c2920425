"""Networks under attack as Foolbox models, one module a kind: inputs in [0, 1], outputs logits.

Each module has `load(path, kernels, on_lattice) -> foolbox.models.Model`. With `on_lattice` the network sees
its inputs rounded to 8 bits, so that an attack searches among real images.
"""

from __future__ import annotations

BOUNDS = (0.0, 1.0)


def module_for(source: str) -> str:
    """Return the dotted name of the module which serves a source precision."""
    return f"{__name__}.{'keras_network' if source == 'float32' else 'tflite_file'}"
