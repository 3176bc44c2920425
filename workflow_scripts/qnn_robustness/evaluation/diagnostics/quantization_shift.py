"""Quantization shift (F2): how a perturbation of the input grows or shrinks from layer to layer.

The float32 network and its integer version see the same perturbed inputs. In between stands the float32 network on the
input as the integer network rounds it: what differs from float32 there is mere rounding of the input, what differs from
there to the integer network is due to its weights and activations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from qnn_robustness.evaluation.diagnostics.shared.losses import LOSSES
from qnn_robustness.evaluation.diagnostics.shared.subject import Network, Subject, lengths

REFERENCE = "float32"
INPUT = "0 INPUT"
Layers = dict[str, np.ndarray]


def measure(subject: Subject, *, seed: int, perturbation_sizes: Sequence[float]) -> pd.DataFrame:
    """Return for every perturbation, integer precision, layer and sample how far the layer's output moves.

    A perturbation changes every input value by +-`size`, as far as [0, 1] allows: along the sign of float32's gradient
    of the margin (`gradient`), or with random signs (`random`). Columns: direction, size, precision, layer, place (0 is
    the input), sample, and Euclidean lengths over the values of a layer:

    - signal_float32, signal: its output on the clean sample;
    - noise_float32, noise_rounded, noise: by how much the perturbation changes it in float32, in float32 on the rounded
      input, and in the integer network;
    - deviation_rounding, deviation_network: between the changes in float32 and on the rounded input, and between these
      and the changes in the integer network.
    """
    reference = subject.networks[REFERENCE]
    clean = {precision: _layers(network, subject.samples) for precision, network in subject.networks.items()}
    clean_rounded = {
        precision: _layers(reference, network.rounded(subject.samples))
        for precision, network in subject.networks.items()
        if precision != REFERENCE
    }
    parts = []
    for direction, signs in _directions(subject, seed):
        for size in perturbation_sizes:
            inputs = np.clip(subject.samples + np.float32(size) * signs, 0, 1)
            moved = _change(_layers(reference, inputs), clean[REFERENCE])
            for precision, unmoved in clean_rounded.items():
                network = subject.networks[precision]
                rounded = _change(_layers(reference, network.rounded(inputs)), unmoved)
                own = _change(_layers(network, inputs), clean[precision])
                rows = _rows(clean[REFERENCE], clean[precision], moved, rounded, own, subject.places)
                parts.append(rows.assign(direction=direction, size=size, precision=precision))
    return pd.concat(parts, ignore_index=True)


def _directions(subject: Subject, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    gradients = subject.networks[REFERENCE].gradients(subject.samples, subject.labels, LOSSES["margin"])
    yield "gradient", np.sign(gradients)
    yield "random", subject.random_signs(seed)


def _layers(network: Network, inputs: np.ndarray) -> Layers:
    """Return the input as the network sees it and the outputs of its layers."""
    return {INPUT: network.rounded(inputs), **network.activations(inputs)}


def _change(moved: Layers, clean: Layers) -> Layers:
    return {name: moved[name] - values for name, values in clean.items()}


def _rows(
    clean_float: Layers, clean_own: Layers, moved: Layers, rounded: Layers, own: Layers, places: np.ndarray
) -> pd.DataFrame:
    parts = []
    for place, layer in enumerate(clean_float):
        columns = {
            "signal_float32": clean_float[layer],
            "signal": clean_own[layer],
            "noise_float32": moved[layer],
            "noise_rounded": rounded[layer],
            "noise": own[layer],
            "deviation_rounding": rounded[layer] - moved[layer],
            "deviation_network": own[layer] - rounded[layer],
        }
        values = {name: lengths(array) for name, array in columns.items()}
        parts.append(pd.DataFrame({"layer": layer, "place": place, "sample": places, **values}))
    return pd.concat(parts, ignore_index=True)
