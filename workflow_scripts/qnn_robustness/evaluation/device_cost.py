"""What defended networks cost on a microcontroller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from qnn_robustness.defenses.shared.preprocessor import Preprocessor
from qnn_robustness.quantization import device

KIB = 1024
# Memory and flash of common microcontrollers, in KiB, the smallest first.
CLASSES = {
    "64 KB / 256 KB": (64, 256),
    "128 KB / 512 KB": (128, 512),
    "256 KB / 1 MB": (256, 1024),
    "512 KB / 2 MB": (512, 2048),
    "1 MB / 2 MB": (1024, 2048),
}
PIPELINE = ["model", "training", "preprocessor", "precision"]
COST = [*PIPELINE, "macs", "operations", "flash", "arena", "fits"]


def device_cost(networks: Iterable[Mapping[str, Any]], preprocessors: Mapping[str, dict[str, Any]]) -> pd.DataFrame:
    """Return the cost of each deployed network behind each preprocessor.

    `networks` have model, training, precision, path and preprocessors (names); `preprocessors` are entries of the
    configuration. macs: multiply-accumulates of the network; operations: elementary operations of the preprocessor;
    flash and arena: bytes of the file and of the activations; fits: the smallest class (memory / flash) that holds
    both, empty if none does. The preprocessor works in the arena's input, and the runtime is not counted.
    """
    rows = []
    for network in networks:
        cost, shape = device.cost(network["path"]), device.input_shape(network["path"])
        for name in network["preprocessors"]:
            entry = preprocessors[name]
            operations = Preprocessor.of(entry).operations(shape) if entry["method"] else 0
            pipeline = {key: network[key] for key in ("model", "training", "precision")}
            measured = {"macs": cost.macs, "flash": cost.flash, "arena": cost.arena, "fits": fits(cost)}
            rows.append({**pipeline, "preprocessor": name, "operations": operations, **measured})
    return pd.DataFrame(rows, columns=COST)


def fits(cost: device.Cost) -> str:
    """Return the smallest class of microcontrollers that holds a network; empty if none does."""
    holding = (name for name, size in CLASSES.items() if cost.arena <= size[0] * KIB and cost.flash <= size[1] * KIB)
    return next(holding, "")
