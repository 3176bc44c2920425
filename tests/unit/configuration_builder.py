"""A small valid configuration, and changes that are made to it by path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.documentation import SCHEMA
from qnn_robustness.configuration.loading import load

VALID: dict[str, Any] = {
    "run": ["white_box", "decision"],
    "datasets": {"digits": {"format": "digits", "image_shape": [8, 8, 1]}},
    "models": {"small": {"dataset": "digits", "architecture": "small_cnn"}},
    "trainings": {
        "standard": {"method": "standard"},
        "hardened": {"method": "pgd_adversarial", "initial": "standard"},
    },
    "attacks": {
        "pgd": {"method": "pgd", "norm": "linf", "budgets": ["1/255", "8/255"]},
        "deepfool": {"method": "deepfool", "norm": "l2"},
        "jump": {"method": "hop_skip_jump", "norm": "l2"},
    },
    "preprocessors": {"bits": {"method": "bit_depth"}},
    "experiments": {
        "white_box": {"models": ["small"], "attacks": ["pgd", "deepfool"], "figures": ["transfer_matrix"]},
        "decision": {
            "models": ["small"],
            "trainings": ["standard", "hardened"],
            "sources": ["int8"],
            "attacks": ["jump"],
            "preprocessors": ["none", "bits"],
            "figures": ["transfer_matrix", "distortion"],
        },
        "not_run": {"models": ["small"], "attacks": ["pgd"], "figures": ["defenses"]},
    },
}


ENSEMBLE = {
    "method": "ensemble_adversarial",
    "parameters": {"sources": ["small/standard"], "static_attacks": ["pgd"]},
}


def loaded(values: dict[str, Any]) -> Configuration:
    return load(values, SCHEMA)


def change(path: str, value: Any) -> Callable[[dict], None]:
    """Return a function that sets the key at `path` of a configuration."""

    def apply(values: dict) -> None:
        *parents, last = path.split(".")
        for name in parents:
            values = values[name]
        values[last] = value

    return apply


def remove(path: str) -> Callable[[dict], None]:
    def apply(values: dict) -> None:
        *parents, last = path.split(".")
        for name in parents:
            values = values[name]
        del values[last]

    return apply


def two_classes(attack: dict[str, Any]) -> Callable[[dict], None]:
    """Return a function that adds the attack to an experiment on a data set of two classes."""

    def apply(values: dict) -> None:
        values["datasets"]["vww"] = {"source": "vww", "format": "image_folder", "image_shape": [96, 96, 3]}
        values["models"]["person"] = {"dataset": "vww", "architecture": "small_cnn"}
        values["attacks"]["few"] = {"norm": "linf", "budgets": ["8/255"], **attack}
        values["experiments"]["few"] = {"models": ["small", "person"], "attacks": ["few"]}
        values["run"] = ["few"]

    return apply


def static(attack: str, sources: list[str]) -> Callable[[dict], None]:
    """Return a function that runs, alone, an ensemble adversarial training on samples of the attack on the sources."""

    def apply(values: dict) -> None:
        model = sources[0].split("/")[0]
        parameters = {"sources": sources, "static_attacks": [attack]}
        values["trainings"]["ensemble"] = {**ENSEMBLE, "parameters": parameters}
        values["experiments"]["static"] = {"models": [model], "trainings": ["ensemble"], "attacks": ["deepfool"]}
        values["run"] = ["static"]

    return apply


def modelled(dataset: dict[str, Any]) -> Callable[[dict], None]:
    """Return a function that lets the preprocessor use a density model of another data set."""

    def apply(values: dict) -> None:
        values["datasets"]["large"] = dataset
        values["densities"] = {"pixels": {"dataset": "large"}}
        values["preprocessors"]["bits"] = {"method": "pixel_defend", "parameters": {"density": "pixels"}}

    return apply


def through_likelihood(values: dict) -> None:
    values["densities"] = {"pixels": {"dataset": "digits"}}
    values["detectors"] = {"likelihood": {"density": "pixels"}}
    values["attacks"]["pgd"]["through"] = "likelihood"


WARM = {
    "method": "pgd",
    "norm": "linf",
    "warm_start": {"attack": "pgd", "source": "float32"},
    "parameters": {"restarts": 1},
}


def speech(settings: dict) -> Callable[[dict], None]:
    """Return a function that puts features of sound into the place of the digits."""

    def apply(values: dict) -> None:
        values["datasets"]["digits"] = {
            "format": "speech_commands",
            "source": "speech_commands",
            "image_shape": [49, 10, 1],
        }
        values["run"] = ["white_box"]
        values["trainings"]["standard"]["flip"] = settings.get("flip", False)
        for attack, lattice in settings.get("attacks", {}).items():
            values["attacks"][attack]["lattice"] = lattice

    return apply


def own_files(*precisions: str, **entry: Any) -> Callable[[dict], None]:
    """Return a function that adds a model given by files (this test's own file stands for each) and runs it."""

    def apply(values: dict) -> None:
        files = {precision: entry.pop("file", __file__) for precision in precisions}
        values["models"]["own"] = {"dataset": "digits", "files": files, **entry}
        values["experiments"]["audit"] = {"models": ["own"], "trainings": ["pretrained"], "attacks": ["pgd"]}
        values["run"] = ["audit"]

    return apply


def both(*changes: Callable[[dict], None]) -> Callable[[dict], None]:
    def apply(values: dict) -> None:
        for change in changes:
            change(values)

    return apply
