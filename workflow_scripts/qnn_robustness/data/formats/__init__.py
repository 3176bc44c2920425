"""Data formats: one module each, loaded by name, with a function `read(archive, dataset) -> Source`.

`archive` is a path, None for embedded data, or paths by the pool they hold for the formats in SEVERAL.

They are not imported here, so that a job depends on the code of its own format alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from qnn_robustness.common.errors import UserError, did_you_mean

FORMATS = ("digits", "cifar10_binary", "image_folder", "speech_commands", "svhn_mat")
EMBEDDED = ("digits",)  # read without an archive
IN_FOLDERS = ("image_folder", "speech_commands")  # read a folder like an archive
SEVERAL = ("speech_commands", "svhn_mat")  # read files by the pool they hold
FEATURES = ("speech_commands",)  # give features of sound instead of images


@dataclass(frozen=True)
class Pool:
    """Samples as their source orders them, before any split is drawn.

    `samples` uint8 [N, H, W, C], or float32 features [N, frames, coefficients, 1] in their own unit; `labels` int64
    [N]; `extensions` str [N], the lower-case file extension of each sample without its dot, or '' where samples are not
    files of their own. `sound` int16 [N, time]: what features of test data were taken of.
    """

    samples: np.ndarray
    labels: np.ndarray
    extensions: np.ndarray
    sound: np.ndarray | None = None


@dataclass(frozen=True)
class Source:
    """What a format read: class names by label, and pools `train` and `test`, or one pool `all`.

    A pool `validation`, where a source has its own, gives the validation and the calibration split.
    """

    classes: list[str]
    pools: dict[str, Pool]


def reader(name: str) -> Callable[[Path | None, dict[str, Any]], Source]:
    """Return the `read` function of a format.

    Raises UserError when there is no such format.
    """
    if name not in FORMATS:
        raise UserError(f"format: there is no data format '{name}'; {did_you_mean(name, FORMATS)}")
    return import_module(f"{__name__}.{name}").read


def require_shape(dataset: dict[str, Any], shape: tuple[int, int, int]) -> None:
    """Raise UserError unless `image_shape` is the only shape that a format has."""
    if tuple(dataset["image_shape"]) != shape:
        raise UserError(
            f"image_shape: {list(dataset['image_shape'])} does not fit the format '{dataset['format']}'; "
            f"expected {list(shape)}"
        )


def require_classes(dataset: dict[str, Any], classes: list[str]) -> None:
    """Raise UserError unless `classes` is left out or equals the classes that a format has."""
    if dataset.get("classes") and list(dataset["classes"]) != classes:
        raise UserError(
            f"classes: {dataset['classes']} does not fit the format '{dataset['format']}'; "
            f"leave it out or write {classes}"
        )
