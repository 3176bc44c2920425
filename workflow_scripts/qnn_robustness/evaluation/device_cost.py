"""What defended networks cost on a microcontroller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import pandas as pd

from qnn_robustness.defenses.shared import purification
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
COST = [*PIPELINE, "inferences", "macs", "operations", "flash", "arena", "fits"]


def device_cost(
    networks: Iterable[Mapping[str, Any]],
    fronts: Mapping[str, list[dict[str, Any]]],
    densities: Mapping[str, str] = MappingProxyType({}),
) -> pd.DataFrame:
    """Return the cost of each deployed network behind each defense.

    `networks` have model, training, precision, paths (several for those that vote) and defenses (names). `fronts` are
    for each defense the entries of the preprocessors behind which the network is run: one, or all those of a detector.
    `densities` are the files of the density models that detectors ask how likely a sample is, by the detector.
    preprocessor: the name of the defense. inferences: how often a network is run for one sample. macs:
    multiply-accumulates of all these, empty where a file has an operator for which none are known; operations:
    elementary operations of the preprocessors and density models; flash and arena: bytes of the files and of the
    activations, which need memory one after the other; fits: the smallest class (memory / flash) that holds both, empty
    if none does. A preprocessor, or a density model, works in the arena's input before the network runs; what it stores
    beside that counts. Where a sample is needed again it is kept beside the arena, in the form of the smallest input.
    The runtime and the comparison of outputs are not counted.
    """
    rows = []
    for network in networks:
        costs, shape = [device.cost(path) for path in network["paths"]], device.input_shape(network["paths"][0])
        sample = min(device.input_size(path) for path in network["paths"])
        for name in network["defenses"]:
            inferences = len(costs) * len(fronts[name])
            preprocessors = [Preprocessor.of(entry) for entry in fronts[name] if entry["method"]]
            asked = [densities[name]] if name in densities else []
            # by density model: what several preprocessors use is stored once
            places = {front.parameters.get("density", place): front for place, front in enumerate(preprocessors)}
            stored = [front.storage(shape) for front in places.values()]
            stored += [purification.storage(shape, density) for density in asked]
            kept = sample if inferences > 1 else 0
            cost = device.Cost(
                macs=sum(cost.macs for cost in costs) * len(fronts[name]),
                flash=sum(cost.flash for cost in costs) + sum(flash for flash, _ in stored),
                arena=max([*(cost.arena for cost in costs), *(sample + memory for _, memory in stored)]) + kept,
            )
            operations = sum(preprocessor.operations(shape) for preprocessor in preprocessors)
            operations += sum(purification.operations(shape, density, epsilon=0) for density in asked)
            pipeline = {key: network[key] for key in ("model", "training", "precision")}
            measured = {"inferences": inferences, "operations": operations, **asdict(cost), "fits": fits(cost)}
            rows.append({**pipeline, "preprocessor": name, **measured})
    return pd.DataFrame(rows, columns=COST).astype({"macs": "Int64"})


def fits(cost: device.Cost) -> str:
    """Return the smallest class of microcontrollers that holds a network; empty if none does."""
    holding = (name for name, size in CLASSES.items() if cost.arena <= size[0] * KIB and cost.flash <= size[1] * KIB)
    return next(holding, "")
