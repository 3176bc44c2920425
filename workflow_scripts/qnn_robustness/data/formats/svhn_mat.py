"""The cropped digits of SVHN (Netzer et al., Reading Digits in Natural Images, 2011; "format 2"): two MAT-files.

Each holds images `X` [32, 32, 3, N] and labels `y` [N, 1] from 1 to 10, where 10 is the digit 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.data.formats import Pool, Source, require_classes, require_shape
from qnn_robustness.data.matlab import read_arrays

SHAPE = (32, 32, 3)
CLASSES = [str(digit) for digit in range(10)]


def read(archive: Mapping[str, Path], dataset: dict[str, Any]) -> Source:
    """Return the digits as the pools `train` and `test`, in the order of the files, each from its own file.

    Raises UserError when a file is missing or is no whole MAT-file with such images and labels, and when `image_shape`
    or `classes` of the data set are not those of SVHN.
    """
    require_shape(dataset, SHAPE)
    require_classes(dataset, CLASSES)
    if "test" not in archive:
        raise UserError("archives: names no file for 'test'")
    return Source(CLASSES, {pool: _pool(path) for pool, path in archive.items()})


def _pool(path: Path) -> Pool:
    content = read_arrays(path, ("X", "y"))
    images, numbers = content["X"], content["y"]
    if images.dtype != np.uint8 or images.shape[:3] != SHAPE or images.ndim != 4:
        raise UserError(f"{path}: X is {images.dtype} {list(images.shape)}; expected uint8 [32, 32, 3, N]")
    if numbers.shape != (images.shape[3], 1):
        raise UserError(f"{path}: y is {list(numbers.shape)}; expected [{images.shape[3]}, 1], a label for each image")
    strange = numbers[~np.isin(numbers, np.arange(1, 11))]
    if len(strange):
        raise UserError(f"{path}: y holds the label {strange[0]}; expected 1 to 10, where 10 is the digit 0")
    labels = (numbers[:, 0] % 10).astype(np.int64)
    return Pool(np.ascontiguousarray(images.transpose(3, 0, 1, 2)), labels, np.full(len(labels), "", dtype=object))
