"""Checks of the section `trainings`: what each training needs is there, and is made before it."""

from __future__ import annotations

from itertools import product

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks.methods import unit_distance
from qnn_robustness.configuration.checks.names import check_known
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.points import PRETRAINED, Network, unique

DISTILLATION = "defensive_distillation"
FINE_TUNING = ("quantization_aware_adversarial",)  # methods that make no sense from random weights


def check_trainings(configuration: Configuration) -> None:
    trainings = configuration.values["trainings"]
    if PRETRAINED in trainings:
        raise UserError(f"trainings.{PRETRAINED}: stands for models given by files; give the recipe another name")
    recipes = {f"trainings.{name}": entry for name, entry in trainings.items()} | configuration.recipe_changes()
    for where, entry in recipes.items():
        attack = entry.get("validation_attack") or {}
        for name in ("epsilon", "step_size"):
            if name in attack:
                unit_distance(attack[name], {}, f"{where}.validation_attack.{name}")
    for network in product(configuration.values["models"], trainings):
        _check_needs(configuration, [Network(*network)])


def _check_needs(configuration: Configuration, path: list[Network], begun: str | None = None) -> None:
    """Check the last network of `path`, where each needs the next one to be trained, and all that it needs.

    `begun` is the place in the configuration where the first one needs the second.
    """
    model, training = path[-1]
    recipe = configuration.recipe(model, training)
    if recipe["method"] in FINE_TUNING and recipe["initial"] is None:
        where = configuration.place(model, training, "initial")
        raise UserError(f"{where}: {recipe['method']} fine-tunes; name the training to start from")
    _check_distillation(configuration, *path[-1])
    teacher = configuration.teacher(model, training)
    needs = {
        "initial": [Network(model, recipe["initial"])] if recipe["initial"] else [],
        "parameters.teacher": [Network(model, teacher)] if teacher else [],
        "parameters.sources": [Network(s.model, s.training) for s in configuration.static_samples(model, training)],
    }
    for key, network in ((key, network) for key, networks in needs.items() for network in unique(networks)):
        where = configuration.place(model, training, key)
        check_known(network.model, configuration.values["models"], where, "model")
        if network.model != model and configuration.is_imported(network.model):
            raise UserError(f"{where}: {network.model} is given by files; name a model that is trained here")
        check_known(network.training, configuration.values["trainings"], where, "training")
        if network in path:
            circle = " -> ".join(step.training for step in [*path, network])
            raise UserError(f"{begun or where}: goes round in a circle ({circle})")
        _check_needs(configuration, [*path, network], begun or where)


def _check_distillation(configuration: Configuration, model: str, training: str) -> None:
    """Check that a student has its teacher's temperature, and that labels are weighed beside a teacher only."""
    recipe = configuration.recipe(model, training)
    teacher, parameters = configuration.teacher(model, training), recipe["parameters"]
    if recipe["method"] != DISTILLATION:
        return
    if teacher is None and parameters["label_weight"]:
        where = configuration.place(model, training, "parameters.label_weight")
        raise UserError(f"{where}: there is no teacher beside whom labels could count; set teacher")
    taught = configuration.recipe(model, teacher) if teacher in configuration.values["trainings"] else recipe
    if taught["method"] == DISTILLATION and taught["parameters"]["temperature"] != parameters["temperature"]:
        where = configuration.place(model, training, "parameters.temperature")
        raise UserError(
            f"{where}: {parameters['temperature']:g} is not that of the teacher '{teacher}' "
            f"({taught['parameters']['temperature']:g}); set the same for both"
        )
