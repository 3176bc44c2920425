"""Checks of the section `trainings`: what each training needs is there, and is made before it."""

from __future__ import annotations

from itertools import product

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks.names import check_known
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.points import PRETRAINED, Network

FINE_TUNING = ("quantization_aware_adversarial",)  # methods that make no sense from random weights


def check_trainings(configuration: Configuration) -> None:
    trainings = configuration.values["trainings"]
    if PRETRAINED in trainings:
        raise UserError(f"trainings.{PRETRAINED}: stands for models given by files; give the recipe another name")
    for network in product(configuration.values["models"], trainings):
        _check_needs(configuration, [Network(*network)])


def _check_needs(configuration: Configuration, path: list[Network]) -> None:
    """Check the last network of `path`, where each needs the next one to be trained, and all that it needs."""
    model, training = path[-1]
    recipe = configuration.recipe(model, training)
    if recipe["method"] in FINE_TUNING and recipe["initial"] is None:
        raise UserError(f"trainings.{training}.initial: {recipe['method']} fine-tunes; name the training to start from")
    needs = {
        "initial": [Network(model, recipe["initial"])] if recipe["initial"] else [],
        "parameters": configuration.used(model, training),
    }
    for key, network in ((key, network) for key, networks in needs.items() for network in networks):
        where = f"trainings.{training}.{key}"
        check_known(network.model, configuration.values["models"], where, "model")
        check_known(network.training, configuration.values["trainings"], where, "training")
        if network in path:
            circle = " -> ".join(step.training for step in [*path, network])
            raise UserError(f"trainings.{path[0].training}.{key}: goes round in a circle ({circle})")
        _check_needs(configuration, [*path, network])
