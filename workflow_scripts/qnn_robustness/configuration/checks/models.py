"""Checks of the section `models`."""

from __future__ import annotations

from typing import Any

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks.contracts import check_names
from qnn_robustness.configuration.checks.methods import complete_method
from qnn_robustness.configuration.checks.names import check_known
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.schema import Schema


def complete_models(configuration: Configuration, schema: Schema) -> None:
    """Check the models, and bring the parameters that their recipes change to the form of the trainings'."""
    for name, entry in configuration.values["models"].items():
        where = f"models.{name}"
        check_known(entry["dataset"], configuration.values["datasets"], f"{where}.dataset", "data set")
        _check_origin(entry, where)
        for training in entry["recipes"]:
            _complete_recipe(configuration, schema, name, training)


def _check_origin(entry: dict[str, Any], where: str) -> None:
    """Check that a model has either an architecture or files, and no declaration about files without any."""
    if (entry["architecture"] is None) == (entry["files"] is None):
        raise UserError(f"{where}: needs either an architecture or files")
    if entry["files"] is None:
        check_known(entry["architecture"], registry.names("models"), f"{where}.architecture", "architecture")
        check_names("models", entry["architecture"], ["build"])
        declared = {**entry["input"], "order": entry["input"]["order"] != "rgb"}
        if any(declared.values()) or entry["labels"] or entry["minimum_accuracy"] is not None:
            raise UserError(f"{where}: input, labels and minimum_accuracy are for a model given by files")


def _complete_recipe(configuration: Configuration, schema: Schema, model: str, training: str) -> None:
    where = f"models.{model}.recipes"
    check_known(training, configuration.values["trainings"], where, "training")
    recipe = configuration.recipe(model, training)
    complete_method(schema, "trainings", recipe, f"{where}.{training}")
    change = configuration.model(model)["recipes"][training]
    if "method" in change:  # whose defaults the training's entry does not have
        change["parameters"] = recipe["parameters"]
    elif "parameters" in change:
        change["parameters"] = {key: recipe["parameters"][key] for key in change["parameters"]}
