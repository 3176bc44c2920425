"""Checks of the adversarial training samples that trainings use."""

from __future__ import annotations

from typing import Any

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks.experiments import check_queries
from qnn_robustness.configuration.checks.names import check_known
from qnn_robustness.configuration.checks.samples import check_classes
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.points import Network, unique
from qnn_robustness.data.formats import FEATURES


def check_static_samples(configuration: Configuration) -> None:
    trainings = {f"trainings.{name}": entry for name, entry in configuration.values["trainings"].items()}
    for where, entry in {**trainings, **configuration.recipe_changes()}.items():
        for attack in entry.get("parameters", {}).get("static_attacks", []):
            _check_attack(configuration.values["attacks"], attack, f"{where}.parameters.static_attacks")
    needed = [other for network in configuration.trained_networks() for other in configuration.needed(*network)]
    for network in unique(needed):
        _check_sources(configuration, network)
        _check_crafting(configuration, network)


def _check_attack(attacks: dict[str, dict[str, Any]], name: str, where: str) -> None:
    check_known(name, attacks, where, "attack")
    attack = attacks[name]
    single = len(attack.get("budgets", [])) == len(attack["seeds"]) == 1
    if not single or attack["lattice"] != "uint8" or attack["warm_start"] or attack["through"]:
        raise UserError(
            f"{where}: '{name}' has to have one budget, one seed, lattice: uint8, and no warm_start or through"
        )


def _check_sources(configuration: Configuration, network: Network) -> None:
    """Check that the networks a training learns from are on the data set of its own, and static samples of images."""
    model, training = network
    dataset = configuration.dataset_of(model)
    if configuration.static_samples(model, training) and configuration.dataset(dataset)["format"] in FEATURES:
        raise UserError(
            f"{configuration.place(model, training, 'parameters.static_attacks')}: make 8-bit images, but the samples "
            f"of {dataset}, the data set of {model}, are features; name another method, such as pgd_adversarial"
        )
    for source in configuration.used(model, training):
        if configuration.dataset_of(source.model) != dataset:
            raise UserError(
                f"{configuration.place(model, training, 'parameters.sources')}: {source.model} is not on {dataset}, "
                f"the data set of {model}; name a model on {dataset}"
            )


def _check_crafting(configuration: Configuration, network: Network) -> None:
    """Check, as for attacks of experiments, that static attacks are for the networks and samples that they get."""
    where = configuration.place(*network, "parameters.static_attacks")
    for samples in configuration.static_samples(*network):
        if configuration.is_of_sound(samples.attack):
            dataset = configuration.dataset_of(samples.model)
            raise UserError(f"{where}: '{samples.attack}' attacks sound, but the samples of '{dataset}' are images")
        check_classes(configuration, samples.attack, samples.model, where)
        check_queries(configuration, samples.attack)
