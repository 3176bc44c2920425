"""Checks of the section `diagnostics`."""

from __future__ import annotations

from typing import Any

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.vote import VOTE
from qnn_robustness.configuration.checks.names import check_known
from qnn_robustness.configuration.checks.samples import check_lattice_of_features
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.points import PRECISIONS
from qnn_robustness.data.formats import FEATURES


def check_diagnostics(configuration: Configuration) -> None:
    entry, where = configuration.diagnostics, "diagnostics"
    for position, name in enumerate(entry["attacks"]):
        _check_attack(configuration, name, f"{where}.attacks.{position}")
    if configuration.diagnosed() and not entry["attacks"]:
        raise UserError(f"{where}.attacks: empty; name minimal-norm attacks, or set diagnose: false in the experiments")
    _check_precisions(configuration)
    _check_attacked(configuration)
    _check_features(configuration)
    _check_distances(entry, where)


def _check_attack(configuration: Configuration, name: str, where: str) -> None:
    check_known(name, configuration.values["attacks"], where, "attack")
    method = registry.load("attacks", configuration.attack(name)["method"])
    if method.BUDGETED or method.ACCESS != "white_box":
        raise UserError(
            f"{where}: '{name}' is no minimal-norm attack with gradients; "
            "name one without budgets, such as deepfool, fmn or carlini_wagner"
        )
    if through := configuration.attack(name)["through"]:
        raise UserError(
            f"{where}: '{name}' is crafted through '{through}', but the networks themselves are looked into; "
            "name an attack without through"
        )


def _check_features(configuration: Configuration) -> None:
    for network in configuration.diagnosed():
        dataset = configuration.dataset_of(network.model)
        if configuration.values["datasets"][dataset]["format"] in FEATURES:
            for name in configuration.diagnostics["attacks"]:
                check_lattice_of_features(configuration, name, dataset, "diagnostics.attacks")


def _check_precisions(configuration: Configuration) -> None:
    for network in configuration.diagnosed():
        missing = set(PRECISIONS) - set(configuration.precisions(network.model))
        if missing:
            raise UserError(
                f"models.{network.model}.files: has no {min(missing)}, which the diagnostics need; add it, or set "
                "diagnose: false in its experiments"
            )


def _check_attacked(configuration: Configuration) -> None:
    points = [e for name in configuration.experiments for e in configuration.evaluations(name)]
    undefended = {e[:2] for e in points if e.preprocessor == "none" and VOTE not in (e.source, e.target)}
    for network in configuration.diagnosed():
        if network not in undefended:
            raise UserError(
                f"experiments: none attacks {network.model}/{network.training}, which is diagnosed, without a "
                "preprocessor in front; add none to preprocessors, or set diagnose: false"
            )


def _check_distances(entry: dict[str, Any], where: str) -> None:
    for key in ("perturbation_sizes", "surface_radius"):
        values = entry[key] if isinstance(entry[key], list) else [entry[key]]
        if not all(0 < value <= 1 for value in values):
            raise UserError(f"{where}.{key}: a distance is not within (0, 1], the range of inputs; expected e.g. 8/255")
