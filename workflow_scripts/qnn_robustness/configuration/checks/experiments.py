"""Checks of the sections `run`, `detectors` and `experiments`."""

from __future__ import annotations

from itertools import product
from typing import Any

from qnn_robustness.attacks.crafting import sources
from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.vote import VOTE
from qnn_robustness.configuration.checks.densities import check_density_models
from qnn_robustness.configuration.checks.names import check_known
from qnn_robustness.configuration.checks.samples import (
    check_calibration,
    check_classes,
    check_features,
    check_samples,
    check_validation,
)
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.points import INTEGER, NO_PREPROCESSOR, PRETRAINED
from qnn_robustness.defenses.shared.pipeline import runs_of
from qnn_robustness.defenses.shared.preprocessor import Preprocessor

FEWEST_QUERIES = 2  # the clean sample and a point beside it


def check_experiments(configuration: Configuration) -> None:
    """Check that what is named in experiments and in `run` exists."""
    values = configuration.values
    if NO_PREPROCESSOR in values["preprocessors"]:
        raise UserError(f"preprocessors.{NO_PREPROCESSOR}: stands for samples as they are; give it another name")
    for position, name in enumerate(values["run"]):
        check_known(name, values["experiments"], f"run.{position}", "experiment")
    _check_detectors(values)
    known = _references(values)
    for name, entry in values["experiments"].items():
        where = f"experiments.{name}"
        for axis, words in known.items():
            for word in entry[axis]:
                check_known(word, words, f"{where}.{axis}", axis.removesuffix("s"))


def check_run(configuration: Configuration) -> None:
    """Check that the parts of each experiment that is run fit together, and that something is left of it.

    Others are not asked: an overlay for one experiment may leave them without what they need.
    """
    for name, entry in configuration.experiments.items():
        where = f"experiments.{name}"
        if entry["detectors"] and set(entry["targets"]) == {VOTE}:
            raise UserError(f"{where}.targets: a vote has no detector; add a precision, or leave out detectors")
        for attack in entry["attacks"]:
            _check_through(configuration, attack, entry, where)
            check_queries(configuration, attack)
        for attack, source in product(entry["attacks"], entry["sources"]):
            _check_source(configuration, attack, source, where)
        for model in entry["models"]:
            _check_trainings(configuration, model, entry, where)
            check_features(configuration, model, entry, where)
            check_validation(configuration, model, entry, where)
            check_calibration(configuration, model, where)
            check_density_models(configuration, model, entry, where)
        for attack, source, model in product(entry["attacks"], entry["sources"], entry["models"]):
            _check_watched(configuration, attack, source, model)
            _check_warm_start(configuration, attack, source, model, where)
        for attack, model in product(entry["attacks"], entry["models"]):
            check_classes(configuration, attack, model, f"{where}.attacks")
            check_samples(configuration, attack, model, f"{where}.attacks")
        if not configuration.evaluations(name):
            own = [f"{model} has {' and '.join(configuration.precisions(model))}" for model in entry["models"]]
            raise UserError(
                f"experiments.{name}: nothing is left of it: no model has both a source "
                f"({', '.join(entry['sources'])}) and a target ({', '.join(entry['targets'])}); {', '.join(own)}"
            )


def _check_warm_start(configuration: Configuration, attack: str, source: str, model: str, where: str) -> None:
    """Check that the network is there from whose samples an attack begins."""
    start, subjects = configuration.attack(attack)["warm_start"], configuration.subjects(model)
    if start and source in subjects and start["source"] not in subjects:
        raise UserError(
            f"{where}.attacks: '{attack}' begins at samples of {start['source']}, but {model} has "
            f"{' and '.join(configuration.precisions(model))} alone; leave it out"
        )


def _references(values: dict[str, Any]) -> dict[str, Any]:
    """Return what may be named on each axis of an experiment."""
    return {
        "models": values["models"],
        "trainings": {PRETRAINED, *values["trainings"]},
        "attacks": values["attacks"],
        "preprocessors": {NO_PREPROCESSOR, *values["preprocessors"]},
        "detectors": values["detectors"],
        "figures": registry.names("figures"),
    }


def _check_detectors(values: dict[str, Any]) -> None:
    for name, entry in values["detectors"].items():
        if name in (NO_PREPROCESSOR, *values["preprocessors"]):
            raise UserError(f"detectors.{name}: is the name of a preprocessor, too; rename one of them")
        if bool(entry["squeezers"]) == (entry["density"] is not None):
            raise UserError(f"detectors.{name}: needs either squeezers or a density model")
        if entry["density"] is not None:
            check_known(entry["density"], values["densities"], f"detectors.{name}.density", "density model")
        for squeezer in entry["squeezers"]:
            check_known(squeezer, values["preprocessors"], f"detectors.{name}.squeezers", "preprocessor")
            if Preprocessor.of(values["preprocessors"][squeezer]).randomised:
                raise UserError(
                    f"detectors.{name}.squeezers: '{squeezer}' is randomised; a detector compares outputs that are "
                    "the same every time"
                )


def _check_through(configuration: Configuration, attack: str, experiment: dict[str, Any], where: str) -> None:
    """Check that an adaptive attack meets the defense that it knows of."""
    through = configuration.through(attack)
    by_likelihood = configuration.values["detectors"].get(through, {}).get("density")
    if by_likelihood and not configuration.meets_rejection(attack):
        raise UserError(
            f"attacks.{attack}.through: '{through}' asks how likely a sample is, and changes nothing for an attack "
            "that does not evade it; take detector_aware_pgd, an attack without gradients, or a preprocessor or a "
            "detector with squeezers"
        )
    axis = "detectors" if through in configuration.values["detectors"] else "preprocessors"
    if through not in (NO_PREPROCESSOR, *experiment[axis]):
        raise UserError(f"{where}.{axis}: {attack} is crafted through '{through}', which is not among them; add it")


def check_queries(configuration: Configuration, attack: str) -> None:
    """Check that a budget of queries is enough to leave the clean sample, which is the first of them."""
    crafting = configuration.crafting(attack)
    fronts = [Preprocessor.of(front) if front["method"] else None for front in crafting.get("through", [])]
    runs = len(runs_of(fronts, crafting.get("draws", 1)))  # of the network for one query
    method, budget = crafting["method"], crafting["query_budget"]
    least = max(runs, 1) * getattr(registry.load("attacks", method), "FEWEST_QUERIES", FEWEST_QUERIES)
    if budget is not None and budget < least:
        raise UserError(
            f"attacks.{attack}.query_budget: {budget} is too few for {method} to change a sample; "
            f"expected at least {least}"
        )


def _check_watched(configuration: Configuration, attack: str, source: str, model: str) -> None:
    """Check that an attack that evades a detector sees scores before the softmax: a file does not give them."""
    if configuration.meets_rejection(attack) and sources.is_file(configuration.source_module(model, source, attack)):
        raise UserError(
            f"attacks.{attack}.through: the detector '{configuration.through(attack)}' needs the integer model, but "
            f"{source} of {model} is attacked by the file's answers alone; set search_kernels: reference, or leave "
            "out the source"
        )


def _check_source(configuration: Configuration, attack: str, source: str, where: str) -> None:
    """Check that an attack has the estimator and the kernels that it asks for on a source."""
    if source == "float32" and configuration.attack(attack)["estimator"] != "straight_through":
        raise UserError(
            f"attacks.{attack}.estimator: the gradients of {source} need none; {where} may use it with sources "
            f"{', '.join(INTEGER)} only"
        )
    search = configuration.search_kernels(source, attack)
    if search not in configuration.kernels(source):
        raise UserError(
            f"attacks.{attack}.search_kernels: '{search}' is not among the kernels on which {source} is "
            f"evaluated (kernels.{source}: {', '.join(configuration.kernels(source))})"
        )


def _check_trainings(configuration: Configuration, model: str, experiment: dict[str, Any], where: str) -> None:
    if not any(configuration.has(model, training) for training in experiment["trainings"]):
        kind = "is given by files" if configuration.is_imported(model) else "is trained here"
        wanted = f"[{PRETRAINED}]" if configuration.is_imported(model) else "its recipes"
        raise UserError(f"{where}.trainings: {model} {kind}; write trainings: {wanted}")
