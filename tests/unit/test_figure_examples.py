"""The pictures of samples that fooled a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qnn_robustness.common.files import write_arrays, write_json
from qnn_robustness.figures import examples
from qnn_robustness.figures.examples import Block, Example
from qnn_robustness.figures.shared import style

SHAPE = (4, 4, 3)
CLEAN = np.full((5, *SHAPE), 100, np.uint8)
LABELS = np.array([0, 1, 0, 1, 0])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[str]]:
    """Two budgets (2 and 4 levels) on samples 1 to 4; sample 2 was wrong when clean, sample 3 withstands the first."""
    indices = np.arange(1, 5)
    adversarial = np.stack([CLEAN[indices] + 2, CLEAN[indices] + 4])[None]
    write_arrays(tmp_path / "crafted.npz", adversarial=adversarial, samples=indices, budgets=np.array([2, 4]) / 255)
    write_arrays(tmp_path / "test.npz", samples=CLEAN, labels=LABELS)
    write_json(tmp_path / "summary.json", {"classes": ["cat", "dog"]})
    rows = [
        {
            **{"model": "own", "training": "pretrained", "source": "int8", "attack": "pgd", "norm": "linf", "seed": 0},
            **{"kernels": kernels, "budget": budget / 255, "sample": i, "label": LABELS[i], "linf": budget / 255},
            "target_correct": i != 2,
            "adversarial_prediction": LABELS[i] if (i, budget) == (3, 2) else 1 - LABELS[i],
        }
        for kernels in ("reference", "xnnpack")
        for budget in (2, 4)
        for i in indices
    ]
    table = pd.DataFrame(rows)
    table["adversarial_correct"] = table["adversarial_prediction"] == table["label"]
    table.to_parquet(tmp_path / "records.parquet")
    names = {"adversarial": "crafted.npz", "records": "records.parquet", "test": "test.npz", "summary": "summary.json"}
    return {name: [str(tmp_path / file)] for name, file in names.items()}


def test_samples_that_were_right_and_are_wrong_at_the_smallest_budget(files: dict[str, list[str]]) -> None:
    (block,) = examples.read(files)
    assert block.title == "own, pretrained: pgd on int8 (reference)"
    assert [(e.label, e.prediction) for e in block.examples] == [("dog", "cat"), ("cat", "dog")]  # samples 1 and 4
    for example in block.examples:
        np.testing.assert_allclose(example.adversarial - example.clean, 2 / 255)
        assert example.distance == 2 / 255


def test_the_difference_is_magnified_as_far_as_it_can_be_shown(files: dict[str, list[str]]) -> None:
    (block,) = examples.read(files)
    assert examples.magnification(block.examples[0]) == 63  # 2/255 * 63 <= 1/2 < 2/255 * 64
    for value in (0.0, 1.0):
        assert examples.magnification(Example(np.zeros(SHAPE), np.full(SHAPE, value), "cat", "dog", value)) == 1


def test_the_figure_shows_every_example(files: dict[str, list[str]], tmp_path: Path) -> None:
    blocks = examples.read(files)
    figure = examples.draw([*blocks, Block("none", "l2", [])])
    titles = [axes.get_title() for part in figure.subfigs for axes in part.axes]
    assert [title for title in titles if title] == ["dog", "cat", "→ cat", "→ dog", "L∞ 2/255, × 63", "L∞ 2/255, × 63"]
    pictures = [axes.images[0].get_array() for axes in figure.subfigs[0].axes if axes.images]
    np.testing.assert_allclose(pictures[-1], 0.5 + 63 * 2 / 255)
    paths = [tmp_path / f"{i}.svg" for i in range(2)]
    for path in paths:
        style.save(examples.draw(blocks), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_nothing_fooled_is_said() -> None:
    (text,) = examples.draw([Block("none", "l2", [])]).texts
    assert text.get_text() == "No attack fooled its source."
