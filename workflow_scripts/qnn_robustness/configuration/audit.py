"""The configuration of an audit: one network of the user's own on a folder of labelled images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from qnn_robustness.common.errors import UserError
from qnn_robustness.data.formats.image_folder import EXTENSIONS
from qnn_robustness.quantization.importing.declaration import nearest_range
from qnn_robustness.quantization.importing.description import describe

EXPERIMENTS = ("audit_white_box", "audit_black_box", "audit_minimal")
# The samples that each attack of config/audit.yaml takes at most.
SAMPLES = {"audit_apgd_linf": 200, "audit_square_linf": 200, "audit_fmn_l2": 200, "audit_hop_skip_jump_l2": 25}
MOST_IMAGES = 2000  # of a large folder as many are drawn, stratified
CALIBRATION = 100
ABOVE_CHANCE = 0.1  # a network that is not better than chance by so much is fed wrongly
NUMBER = r"(-?[0-9]+(?:\.[0-9]+)?)"
RANGE = re.compile(rf"{NUMBER}\.\.{NUMBER}")


def audit(model: str, data: str, value_range: str | None = None, labels: str | None = None) -> dict[str, Any]:
    """Return the overlay over config/audit.yaml for a network file and a folder of class folders.

    `value_range` (`0..255`) says which values stand for black and white; without it the range in use that is
    nearest to what the input of an integer network can represent is taken, and [0, 1] for others. `labels` are the
    class folders in the order of the outputs, separated by commas; without it they are in alphabetical order.

    Raises UserError, with one line, for whatever does not fit.
    """
    described = describe(model)
    counts = _images(Path(data), labels.split(",") if labels else None)
    classes, images = list(counts), sum(counts.values())
    if described.outputs not in (None, len(classes)):
        raise UserError(
            f"{data}: has {len(classes)} class folders ({', '.join(classes[:12])}), "
            f"but {model} has {described.outputs} outputs"
        )
    name = name_of(model)
    return {
        "datasets": {"images": _dataset(data, described.shape, classes, images, described.precision == "float32")},
        "models": {
            name: {
                "dataset": "images",
                "files": {described.precision: str(Path(model).resolve())},
                "input": {"range": _range(value_range, described.span)},
                "output": "softmax" if described.softmax else "logits",
                "minimum_accuracy": round(1 / len(classes) + ABOVE_CHANCE, 3),
            }
        },
        "attacks": {attack: {"samples": min(most, images)} for attack, most in SAMPLES.items()},
        "experiments": {experiment: {"models": [name]} for experiment in EXPERIMENTS},
    }


def name_of(model: str) -> str:
    """Return a name for the configuration made from that of a file."""
    name = re.sub(r"[^a-z0-9]+", "_", Path(model).stem.lower()).strip("_")
    return name if name[:1].isalpha() else f"model_{name}"


def _images(folder: Path, labels: list[str] | None) -> dict[str, int]:
    """Return the number of images in each class folder, in the order of the labels."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one with a folder of images for each class")
    found = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if labels is not None and sorted(labels) != found:
        raise UserError(f"{folder}: its class folders are {', '.join(found)}, the labels {', '.join(labels)}")
    counts = {
        name: sum(path.suffix[1:].lower() in EXTENSIONS for path in (folder / name).iterdir())
        for name in labels or found
    }
    if len(counts) < 2:
        raise UserError(f"{folder}: has {len(counts)} class folders; expected two or more, with images of each class")
    return counts


def _dataset(data: str, shape: tuple[int, ...], classes: list[str], images: int, is_float: bool) -> dict[str, Any]:
    entry = {"path": str(Path(data).resolve()), "image_shape": list(shape), "classes": classes}
    if images > MOST_IMAGES:
        entry |= {"split_folders": None, "test_fraction": MOST_IMAGES / images}
    if is_float:  # the integer networks are made here
        entry |= {"calibration_samples": CALIBRATION, "calibration_from_test": images <= MOST_IMAGES}
    return entry


def _range(text: str | None, span: tuple[float, float] | None) -> list[float]:
    if not text:
        return [0.0, 1.0] if span is None else list(nearest_range(*span))
    match = RANGE.fullmatch(text.strip())
    ends = [float(part) for part in match.groups()] if match else []
    if not ends or ends[0] >= ends[1]:
        raise UserError(f"RANGE={text}: is no range; write the values of black and of white, for example 0..255")
    return ends
