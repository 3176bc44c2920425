"""Checks that attacks and trainings are for the kind of samples they get."""

from __future__ import annotations

import math
from typing import Any

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.points import INTEGER
from qnn_robustness.data.formats import FEATURES
from qnn_robustness.data.registry import number_of_classes

FEW, MANY = 2, 1000  # classes; an attack that is defined for both is for every number


def check_classes(configuration: Configuration, attack: str, model: str, where: str) -> None:
    """Check that an attack is defined for the number of classes of a model's data set.

    Where the archive alone tells how many there are, attacks that are not defined for every number want them named.
    """
    entry, dataset = configuration.attack(attack), configuration.dataset_of(model)
    check = getattr(registry.load("attacks", entry["method"]), "check_classes", None)
    if check is None:
        return
    known = number_of_classes(configuration.values["datasets"][dataset])
    try:
        for classes in (FEW, MANY) if known is None else (known,):
            check(classes, **entry["parameters"])
    except UserError as error:
        if known is None:
            raise UserError(
                f"datasets.{dataset}.classes: null, but '{attack}' ({where}) is not for every number of classes; "
                "name them"
            ) from None
        raise UserError(f"{where}: '{attack}' does not fit '{model}' (data set '{dataset}'): {error}") from None


def check_samples(configuration: Configuration, attack: str, model: str, where: str) -> None:
    """Check that a test split whose size is set has as many samples as an attack wants."""
    wanted, dataset = configuration.attack(attack)["samples"], configuration.dataset_of(model)
    there = configuration.values["datasets"][dataset]["test_samples"]
    if there is not None and wanted is not None and wanted > there:
        raise UserError(
            f"{where}: '{attack}' wants {wanted} samples, but '{dataset}' has {there}; "
            f"set attacks.{attack}.samples or datasets.{dataset}.test_samples"
        )


def check_features(configuration: Configuration, model: str, experiment: dict[str, Any], where: str) -> None:
    """Check that images are not attacked as sound, and that preprocessors and others are for the samples they get."""
    dataset = configuration.dataset_of(model)
    _check_preprocessors(configuration, dataset, experiment, where)
    if configuration.values["datasets"][dataset]["format"] not in FEATURES:
        _check_images(configuration, dataset, experiment, where)
        return
    for attack in experiment["attacks"]:
        check_lattice_of_features(configuration, attack, dataset, f"{where}.attacks")
    if not configuration.is_imported(model):
        _check_augmentation(configuration, model, experiment, where)


def _check_images(configuration: Configuration, dataset: str, experiment: dict[str, Any], where: str) -> None:
    for attack in experiment["attacks"]:
        if configuration.is_of_sound(attack):
            raise UserError(f"{where}.attacks: '{attack}' attacks sound, but the samples of '{dataset}' are images")


def check_lattice_of_features(configuration: Configuration, attack: str, dataset: str, where: str) -> None:
    if configuration.attack(attack)["lattice"] == "uint8":
        raise UserError(
            f"{where}: '{attack}' makes 8-bit images, but the samples of '{dataset}' are features; "
            f"set attacks.{attack}.lattice: float"
        )


def _check_preprocessors(configuration: Configuration, dataset: str, experiment: dict[str, Any], where: str) -> None:
    entries, data = configuration.values["preprocessors"], configuration.values["datasets"][dataset]
    features, channels = data["format"] in FEATURES, data["image_shape"][-1]
    squeezers = [
        (f"{where}.detectors: '{name}' asks ", configuration.values["detectors"][name]["squeezers"])
        for name in experiment["detectors"]
    ]
    for said, names in [(f"{where}.preprocessors: ", experiment["preprocessors"]), *squeezers]:
        for name in (name for name in names if name in entries):
            module = registry.load("defenses", entries[name]["method"])
            if features and getattr(module, "OF_IMAGES", False):
                raise UserError(f"{said}'{name}', which is for images, but the samples of '{dataset}' are features")
            if channels not in getattr(module, "CHANNELS", [channels]):
                raise UserError(
                    f"{said}'{name}', which is for images of {' or '.join(map(str, module.CHANNELS))} channels, "
                    f"but those of '{dataset}' have {channels}"
                )


def check_validation(configuration: Configuration, model: str, experiment: dict[str, Any], where: str) -> None:
    """Check that the validation split has samples enough for training and for the thresholds of the detectors."""
    dataset = configuration.dataset_of(model)
    there = configuration.values["datasets"][dataset]["validation_samples"]
    if not there and not configuration.is_imported(model):
        raise UserError(
            f"{where}.models: '{model}' is trained here, which takes validation samples, but '{dataset}' has none; "
            f"set datasets.{dataset}.validation_samples, or give the network by files"
        )
    for name in experiment["detectors"]:
        rate = configuration.values["detectors"][name]["false_positive_rate"]
        if there * rate < 1:
            least = math.ceil(1 / rate)
            raise UserError(
                f"{where}.detectors: '{name}' is to reject {100 * rate:g} % of the validation samples of '{dataset}', "
                f"of which there are {there}; set datasets.{dataset}.validation_samples to {least} or more"
            )


def check_calibration(configuration: Configuration, model: str, where: str) -> None:
    """Check that there are samples to calibrate the integer networks with that are made here."""
    dataset, files = configuration.dataset_of(model), configuration.model(model)["files"] or {}
    made = [name for name in INTEGER if name in configuration.precisions(model) and name not in files]
    if made and not configuration.values["datasets"][dataset]["calibration_samples"]:
        raise UserError(
            f"{where}.models: '{model}' is quantized here, which takes calibration samples, but '{dataset}' has none; "
            f"set datasets.{dataset}.calibration_samples, or models.{model}.quantized_to: []"
        )


def _check_augmentation(configuration: Configuration, model: str, experiment: dict[str, Any], where: str) -> None:
    trainings = [training for training in experiment["trainings"] if configuration.has(model, training)]
    for network in (network for training in trainings for network in configuration.needed(model, training)):
        recipe = configuration.recipe(*network)
        if recipe["shift"] or recipe["flip"]:
            raise UserError(
                f"{where}.trainings: '{network.training}' shifts or mirrors its samples, but those of "
                f"'{configuration.dataset_of(network.model)}' are features; "
                f"set models.{network.model}.recipes.{network.training}: {{shift: 0, flip: false}}"
            )
