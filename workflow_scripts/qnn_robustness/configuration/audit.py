"""The configuration of an audit: one network of the user's own on a folder of labelled images or clips."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import is_clutter
from qnn_robustness.common.scaling import InputScaling
from qnn_robustness.configuration.checks.files import check_braces
from qnn_robustness.configuration.points import INTEGER
from qnn_robustness.configuration.schema import load_schema
from qnn_robustness.data.formats import image_folder, speech_commands
from qnn_robustness.quantization.importing.declaration import nearest_range, wrong_outputs
from qnn_robustness.quantization.importing.description import describe
from qnn_robustness.quantization.integer_model.refusal import refusal

EXPERIMENTS = ("audit_white_box", "audit_black_box", "audit_minimal")
# The samples that each attack of config/audit.yaml takes at most.
SAMPLES = {
    "audit_apgd_linf": 200,
    "audit_square_linf": 200,
    "audit_fmn_l2": 200,
    "audit_hop_skip_jump_l2": 25,
    "audit_sound_pgd_snr": 48,
}
# Clips are attacked in shares of the range of their features, which are no 8-bit images, and as sound.
FEATURE_BUDGETS = {
    "audit_apgd_linf": {"budgets": ["0.5/255", "1/255", "2/255", "4/255"]},
    "audit_square_linf": {"budgets": ["2/255", "4/255"]},
}
ON_CLIPS = ["audit_apgd_linf", "audit_sound_pgd_snr"]
# Without gradients: of what config/audit.yaml runs what is left for a file that the integer model cannot be made from.
WITHOUT_GRADIENTS = {
    "audit_black_box": {"figures": ["robustness_against_budget", "transfer_matrix"]},
    "audit_minimal": {"attacks": ["audit_hop_skip_jump_l2"]},
}
# In the place of the reference kernels, where these lack an operator or compute it wrong.
OTHER_KERNELS = {"int8": ("xnnpack", "builtin"), "int16": ("builtin",)}
CLIP = "wav"
FEWEST_SAMPLES = 5
MOST_SAMPLES = 2000  # of a large folder as many are kept, stratified
CALIBRATION = 100
ABOVE_CHANCE = 0.1  # a network that is not better than chance by so much is fed wrongly
ORDERS = ("rgb", "bgr")
NUMBER = r"(-?[0-9]+(?:\.[0-9]+)?)"
RANGE = re.compile(rf"{NUMBER}\.\.{NUMBER}")


def audit(
    model: str,
    data: str,
    scaling: Mapping[str, str] | None = None,
    labels: str | None = None,
    taken: Collection[str] = (),
) -> dict[str, Any]:
    """Return the overlay over config/audit.yaml for a network file and a folder of class folders.

    The folders hold images, or clips (.wav) of the twelve classes of Speech Commands. `scaling` has any of `range`
    (`0..255`: which values stand for black and white), `mean` and `deviation` (a number, or one for each channel,
    separated by commas) and `order` (`bgr`); without a range the one in use that is about what the input of an integer
    network can represent is taken, and [0, 1] for others. `labels` are the class folders in the order of the outputs,
    separated by commas; without it they are in alphabetical order, and those of clips in MLPerf Tiny's. `taken` are
    names of models of the configuration beneath. An integer network that the integer model cannot be made of on the
    reference kernels is attacked on others, or without gradients where it cannot be made at all.

    Raises UserError, with one line, for whatever does not fit.
    """
    for place, path in (("MODEL", model), ("DATA", data)):
        check_braces(place, str(Path(path).resolve()))
    if labels and "," not in labels and (labels.endswith(".txt") or Path(labels).is_file()):
        raise UserError(f"LABELS={labels}: names a file; expected the class folders, separated by commas: cat,dog")
    described, scaling = describe(model), scaling or {}
    folders = _class_folders(Path(data), [label.strip() for label in labels.split(",")] if labels else None)
    images, clips = _count(folders, image_folder.EXTENSIONS), _count(folders, (CLIP,))
    samples, of_sound = images or clips, not images
    if not samples:
        extensions = ", ".join(image_folder.EXTENSIONS)
        named = ", ".join([*folders][:12])
        raise UserError(f"{data}: its class folders, {named}, hold no images ({extensions}) or clips ({CLIP})")
    if samples < FEWEST_SAMPLES:
        raise UserError(f"{data}: its class folders hold {samples} samples; expected {FEWEST_SAMPLES} or more")
    if of_sound:
        folders = _in_order_of_commands(data, folders, scaling, labels)
    if described.outputs is not None and (reason := wrong_outputs([described.outputs], folders)):
        raise UserError(f"{model}: {reason}; classes are the folders in {data}")
    calibration = min(CALIBRATION, samples // 3) if of_sound or described.precision == "float32" else 0
    kept = min(MOST_SAMPLES, samples - calibration)
    name = name_of(model, taken)
    dataset = {
        "path": str(Path(data).resolve()),
        "image_shape": list(described.shape),
        "classes": [*folders],
        "test_samples": kept,
        "calibration_samples": calibration,
        "calibration_from_test": calibration > 0,
    }
    entry = {
        "dataset": "images",
        "files": {described.precision: str(Path(model).absolute())},  # a link keeps its name
        "output": "softmax" if described.softmax else "logits",
        "minimum_accuracy": round(1 / len(folders) + ABOVE_CHANCE, 3),
    }
    overlay = {
        "datasets": {"images": dataset},
        "models": {name: entry},
        "attacks": {attack: {"samples": min(most, kept)} for attack, most in SAMPLES.items()},
        "experiments": {experiment: {"models": [name]} for experiment in EXPERIMENTS},
    }
    if of_sound:
        _on_clips(overlay)
    else:
        image_folder.listed(Path(data), {**dataset, "split_folders": {"test": image_folder.WHOLE}})
        entry["input"] = _input(model, scaling, described.span, described.shape[-1])
    if described.precision != "float32" and refusal(model):
        others = (kernels for kernels in OTHER_KERNELS[described.precision] if not refusal(model, kernels))
        if kernels := next(others, None):
            overlay["kernels"] = {described.precision: [kernels]}
        else:
            _without_gradients(overlay, name)
    return overlay


def without_what_fails(overlay: dict[str, Any], failed: Collection[str], lacking: Collection[str]) -> None:
    """Leave integer precisions out that cannot be made of the audited float32 network; attack others as is possible.

    `lacking` are precisions that the integer model cannot be made of: gradients are then left to float32.
    """
    (entry,) = overlay["models"].values()
    entry["quantized_to"] = [precision for precision in INTEGER if precision not in failed]
    if lacking:
        entry["integer_model"] = False
        experiments = overlay["experiments"]
        attacks = experiments["audit_white_box"].get("attacks", ["audit_apgd_linf"])
        figures = ["robustness_against_budget", "transfer_matrix", "distortion"]
        own = {"sources": ["float32"], "attacks": [*attacks, "audit_fmn_l2"], "figures": figures}
        experiments["audit_white_box"] |= own
        experiments["audit_minimal"] |= {"attacks": ["audit_hop_skip_jump_l2"]}


def kernel_sets(beneath: Mapping[str, Any], schema_path: Path) -> dict[str, list[str]]:
    """Return the kernel sets on which a run evaluates each integer precision; `beneath` is config.yaml."""
    known = load_schema(schema_path)["properties"]["kernels"]["properties"]
    return {precision: beneath.get("kernels", {}).get(precision, part["default"]) for precision, part in known.items()}


def name_of(model: str, taken: Collection[str] = ()) -> str:
    """Return a name for the configuration made from that of a file, other than the ones taken."""
    name = re.sub(r"[^a-z0-9]+", "_", Path(model).stem.lower()).strip("_")
    return f"model_{name}" if name in taken or not name[:1].isalpha() else name


def _class_folders(folder: Path, labels: list[str] | None) -> dict[str, Path]:
    """Return the class folders by name, in the order of the labels."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one with a folder of images for each class")
    found = sorted(path.name for path in folder.iterdir() if path.is_dir() and not is_clutter(path.name))
    if labels is not None:  # file systems write letters with accents in two ways
        spelled = {unicodedata.normalize("NFC", name): name for name in found}
        labels = [spelled.get(unicodedata.normalize("NFC", label), label) for label in labels]
    if labels is not None and sorted(labels) != found:
        raise UserError(f"{folder}: its class folders are {', '.join(found)}, the labels {', '.join(labels)}")
    if len(found) < 2:
        raise UserError(f"{folder}: has {len(found)} class folders; expected two or more, with images of each class")
    return {name: folder / name for name in labels or found}


def _count(folders: dict[str, Path], extensions: tuple[str, ...]) -> int:
    names = [path for folder in folders.values() for path in folder.iterdir() if not is_clutter(path.name)]
    return sum(path.suffix[1:].lower() in extensions for path in names)


def _in_order_of_commands(
    data: str, folders: dict[str, Path], scaling: Mapping[str, str], labels: str | None
) -> dict[str, Path]:
    classes = speech_commands.CLASSES
    if set(folders) != set(classes):
        raise UserError(f"{data}: holds clips in {', '.join([*folders][:12])}; expected {', '.join(classes)}")
    for name, text in scaling.items():
        raise UserError(f"{name.upper()}={text}: is for images; features of clips have a unit of their own")
    if labels and [*folders] != classes:
        raise UserError(f"LABELS={labels}: the order of clips is that of MLPerf Tiny, {','.join(classes)}")
    return {name: folders[name] for name in classes}


def _without_gradients(overlay: dict[str, Any], name: str) -> None:
    """Leave out what needs gradients."""
    overlay["run"] = [*WITHOUT_GRADIENTS]
    overlay["experiments"] = {experiment: {"models": [name], **own} for experiment, own in WITHOUT_GRADIENTS.items()}


def _on_clips(overlay: dict[str, Any]) -> None:
    """Attack features in shares of their range, which the calibration clips give, and sound."""
    overlay["datasets"]["images"] |= {"format": "speech_commands", "split_folders": None}
    for attack, own in overlay["attacks"].items():
        own |= {"lattice": "float"} | FEATURE_BUDGETS.get(attack, {})
    overlay["experiments"]["audit_white_box"]["attacks"] = ON_CLIPS


def _input(model: str, scaling: Mapping[str, str], span: tuple[float, float] | None, channels: int) -> dict[str, Any]:
    """Return the `input` of a model: what the options say, and the range that the file lets one guess."""
    entry: dict[str, Any] = {name: _numbers(name, scaling[name]) for name in ("mean", "deviation") if name in scaling}
    if "order" in scaling:
        entry["order"] = scaling["order"]
    _check_scaling(scaling, entry, channels)
    if "range" in scaling:
        return {"range": _range(scaling["range"]), **entry}
    of_range = {name: entry[name] for name in ("mean", "deviation") if name in entry}
    if span is None and of_range:
        raise UserError("MEAN and DEVIATION need RANGE=black..white beside them: of which values, 0..1 or 0..255?")
    nearest = (0.0, 1.0) if span is None else nearest_range(*span, **of_range)
    if nearest is None:
        raise UserError(
            f"{model}: its input takes values from {span[0]:.4g} to {span[1]:.4g}, no range in common use; say with "
            "RANGE=black..white, MEAN=... and DEVIATION=... what it was trained on"
        )
    return {"range": list(nearest), **entry}


def _check_scaling(scaling: Mapping[str, str], entry: Mapping[str, Any], channels: int) -> None:
    """Raise UserError, naming the option, for a mean, a deviation or an order that no such image has."""
    if entry.get("order", "rgb") not in ORDERS:
        raise UserError(f"ORDER={entry['order']}: is no order of channels; write {' or '.join(ORDERS)}")
    try:
        InputScaling.declared({"range": (0, 1), "mean": None, "deviation": None, "order": "rgb", **entry}, channels)
    except UserError as error:
        name, reason = str(error).split(": ", 1)
        raise UserError(f"{name.upper()}={scaling[name]}: {reason}") from None


def _numbers(name: str, text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
        if np.isfinite(values).all():
            return values
        raise ValueError(text)
    except ValueError:
        raise UserError(f"{name.upper()}={text}: is no number, or several separated by commas") from None


def _range(text: str) -> list[float]:
    match = RANGE.fullmatch(text.strip())
    ends = [float(part) for part in match.groups()] if match else []
    if not ends or ends[0] >= ends[1]:
        raise UserError(f"RANGE={text}: is no range; write the values of black and of white, for example 0..255")
    return ends
