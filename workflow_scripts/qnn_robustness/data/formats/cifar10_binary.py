"""The official binary archive of CIFAR-10 (Krizhevsky, Learning Multiple Layers of Features, 2009).

A sample is 3,073 bytes: the label, then 1,024 bytes each of red, green and blue, row by row. Nothing is
unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.data.archives import read_members
from qnn_robustness.data.formats import Pool, Source, require_classes, require_shape

SHAPE = (32, 32, 3)
BATCH_SAMPLES = 10_000
FOLDER = "cifar-10-batches-bin"
TRAIN = tuple(f"{FOLDER}/data_batch_{number}.bin" for number in range(1, 6))
TEST = f"{FOLDER}/test_batch.bin"
NAMES = f"{FOLDER}/batches.meta.txt"


def read(archive: Path | None, dataset: dict[str, Any]) -> Source:
    """Return the training batches in their order as pool `train`, and the test batch as pool `test`.

    Raises UserError when the archive lacks a batch, a batch has another size or a label above 9, or
    `image_shape` or `classes` of the data set are not those of CIFAR-10.
    """
    require_shape(dataset, SHAPE)
    content = dict(read_members(archive, (*TRAIN, TEST, NAMES)))
    classes = _class_names(archive, content[NAMES])
    require_classes(dataset, classes)
    train = [_batch(archive, name, content[name], len(classes)) for name in TRAIN]
    test = _batch(archive, TEST, content[TEST], len(classes))
    return Source(classes, {"train": _pool(train), "test": _pool([test])})


def _class_names(archive: Path, content: bytes) -> list[str]:
    names = content.decode("ascii", "replace").split()
    if len(names) != 10:
        raise UserError(f"{archive}: member '{NAMES}' names {len(names)} classes; expected 10")
    return names


def _batch(archive: Path, name: str, content: bytes, classes: int) -> tuple[np.ndarray, np.ndarray]:
    row = 1 + int(np.prod(SHAPE))
    if len(content) != BATCH_SAMPLES * row:
        raise UserError(f"{archive}: member '{name}' has {len(content):,} bytes; expected {BATCH_SAMPLES * row:,}")
    rows = np.frombuffer(content, np.uint8).reshape(BATCH_SAMPLES, row)
    labels = rows[:, 0].astype(np.int64)
    if labels.max() >= classes:
        raise UserError(f"{archive}: member '{name}' has label {labels.max()}; expected 0 to {classes - 1}")
    planes = rows[:, 1:].reshape(BATCH_SAMPLES, SHAPE[2], SHAPE[0], SHAPE[1])
    return planes.transpose(0, 2, 3, 1), labels


def _pool(batches: list[tuple[np.ndarray, np.ndarray]]) -> Pool:
    samples = np.concatenate([samples for samples, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    return Pool(np.ascontiguousarray(samples), labels, np.full(len(labels), "", dtype=object))
