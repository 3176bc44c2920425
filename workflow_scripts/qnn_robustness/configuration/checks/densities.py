"""Checks of the section `densities`, and that a density model fits the samples it judges."""

from __future__ import annotations

from typing import Any

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks.names import check_known
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.data.formats import FEATURES


def check_densities(configuration: Configuration) -> None:
    values = configuration.values
    for name, entry in values["densities"].items():
        where = f"densities.{name}.dataset"
        check_known(entry["dataset"], values["datasets"], where, "data set")
        if values["datasets"][entry["dataset"]]["format"] in FEATURES:
            raise UserError(f"{where}: the samples of '{entry['dataset']}' are features; name a data set of images")
    for name, entry in values["preprocessors"].items():
        if "density" in entry["parameters"]:
            where = f"preprocessors.{name}.parameters.density"
            check_known(entry["parameters"]["density"], values["densities"], where, "density model")


def check_density_models(configuration: Configuration, model: str, experiment: dict[str, Any], where: str) -> None:
    """Check that the density models of an experiment's defenses can be trained, on images of the shape of a model's."""
    datasets = configuration.values["datasets"]
    dataset = configuration.dataset_of(model)
    for axis in ("preprocessors", "detectors"):
        for defense, density in (
            (name, used) for name in experiment[axis] for used in configuration.densities_of(name)
        ):
            modelled = configuration.density(density)["dataset"]
            if not datasets[modelled]["validation_samples"]:
                raise UserError(
                    f"{where}.{axis}: the training of the density model '{density}' of '{defense}' takes validation "
                    f"samples, but '{modelled}' has none; set datasets.{modelled}.validation_samples"
                )
            if datasets[modelled]["image_shape"] != datasets[dataset]["image_shape"]:
                raise UserError(
                    f"{where}.{axis}: the density model '{density}' of '{defense}' is of '{modelled}', whose images "
                    f"have another shape than those of '{dataset}'; train one on '{dataset}'"
                )
