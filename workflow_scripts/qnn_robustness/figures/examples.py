"""Samples that fooled their source: clean, adversarial, and the perturbation magnified."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qnn_robustness.common.distances import to_unit
from qnn_robustness.common.files import read_arrays
from qnn_robustness.data.splits import load_split
from qnn_robustness.figures.shared import panels, style

TABLES = ()
SHOWN = 6
SIDE = 1.25  # inches
ROWS = ("clean", "adversarial", "difference")


@dataclass(frozen=True)
class Example:
    """One sample, float [H, W, C] in [0, 1], and what the network takes it for (class names)."""

    clean: np.ndarray
    adversarial: np.ndarray
    label: str
    prediction: str
    distance: float


@dataclass(frozen=True)
class Block:
    """The examples of one attack on one network."""

    title: str
    norm: str
    examples: list[Example]


def read(inputs: Mapping[str, Sequence[str]]) -> list[Block]:
    """Return a block for each crafted file; `adversarial`, `records`, `test` and `summary` are lists of equal length.

    Of each, the first samples are taken that were right when clean and are wrong under attack, in the first seed and
    at the smallest budget that fooled any.
    """
    names = ("adversarial", "records", "test", "summary")
    return [_block(*files) for files in zip(*(inputs[name] for name in names), strict=True)]


def _block(adversarial: str, records: str, test: str, summary: str) -> Block:
    crafted, clean = read_arrays(adversarial), load_split(test).samples
    table = pd.read_parquet(records)
    classes = json.loads(Path(summary).read_text(encoding="utf-8"))["classes"]
    first = table.iloc[0]
    table = table[(table["seed"] == first["seed"]) & (table["kernels"] == first["kernels"])]
    fooled = table[table["target_correct"] & ~table["adversarial_correct"]]
    if fooled["budget"].notna().any():
        fooled = fooled[fooled["budget"] == fooled["budget"].min()]
    budgets, places = list(crafted["budgets"]), {sample: place for place, sample in enumerate(crafted["samples"])}
    examples = []
    for row in fooled.head(SHOWN).to_dict("records"):
        budget = 0 if np.isnan(row["budget"]) else budgets.index(row["budget"])
        changed = crafted["adversarial"][0, budget, places[row["sample"]]]
        label, prediction = classes[row["label"]], classes[row["adversarial_prediction"]]
        examples.append(Example(to_unit(clean[row["sample"]]), to_unit(changed), label, prediction, row[first["norm"]]))
    title = f"{first['model']}, {first['training']}: {first['attack']} on {first['source']} ({first['kernels']})"
    return Block(title, first["norm"], examples)


def magnification(example: Example) -> int:
    """Return the whole number by which a perturbation can be multiplied and still be shown around grey, at least 1."""
    largest = float(np.abs(example.adversarial - example.clean).max())
    return max(1, int(0.5 / largest)) if largest else 1


def draw(blocks: list[Block]) -> Figure:
    """Return the figure: three rows of pictures for each block, one column a sample."""
    blocks = [block for block in blocks if block.examples]
    if not blocks:
        return panels.empty("No attack fooled its source.")
    figure = style.new_figure(SHOWN * SIDE + 0.4, len(blocks) * (len(ROWS) * SIDE * 1.2 + 0.3))
    parts = figure.subfigures(len(blocks), 1, squeeze=False)[:, 0]
    for part, block in zip(parts, blocks, strict=True):
        part.suptitle(block.title, fontsize=9)
        axes = part.subplots(len(ROWS), SHOWN, squeeze=False)
        for axis in axes.ravel():
            axis.set_axis_off()
        for column, example in zip(axes.T, block.examples, strict=False):
            factor = magnification(example)
            difference = (example.adversarial - example.clean) * factor + 0.5
            _picture(column[0], example.clean, example.label)
            _picture(column[1], example.adversarial, f"→ {example.prediction}")
            _picture(column[2], difference, f"{_distance(example.distance, block.norm)}, × {factor}")
    return figure


def _picture(axes: Axes, image: np.ndarray, title: str) -> None:
    image = np.clip(image, 0, 1)
    axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=style.SMALLEST_FONT)


def _distance(distance: float, norm: str) -> str:
    value = f"{distance * 255:.3g}/255" if norm == "linf" else f"{distance:.2g}"
    return f"{style.NORM_LABELS[norm]} {value}"
