"""Checks of the section `attacks`."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from types import ModuleType
from typing import Any

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks.names import check_known
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.distance import parse_distance

ACCESSES = ("white_box", "score", "decision")
# The settings that an attack with a warm start takes from the attack it begins at, if that has them.
FROM_WARM_START = ("budgets", "lattice", "samples", "seeds")


def complete_attacks(configuration: Configuration, given: dict[str, dict[str, Any]]) -> None:
    """Check the attacks, and give those with a warm start the settings of the samples where they begin.

    `given` is the section before defaults were filled in.
    """
    attacks = configuration.values["attacks"]
    defenses = {**configuration.values["preprocessors"], **configuration.values["detectors"]}
    for name, entry in attacks.items():
        if entry["warm_start"]:
            _take_from_warm_start(name, attacks, given[name])
        _check_attack(entry, f"attacks.{name}")
        if entry["through"] is not None:
            check_known(entry["through"], defenses, f"attacks.{name}.through", "preprocessor or detector")
        if configuration.meets_rejection(name):
            _check_detector(entry, configuration.values["detectors"], f"attacks.{name}")


def _take_from_warm_start(name: str, attacks: dict[str, dict[str, Any]], given: Collection[str]) -> None:
    """Give an attack that begins at another's samples the settings of these, none of which may be `given`."""
    entry, where = attacks[name], f"attacks.{name}"
    if not getattr(registry.load("attacks", entry["method"]), "WARM_START", False):
        raise UserError(f"{where}.warm_start: {entry['method']} cannot begin at given samples; pgd can")
    if entry["parameters"]["restarts"] > 1:
        raise UserError(
            f"{where}.warm_start: every restart would begin at the same samples; set parameters.restarts: 1"
        )
    start = entry["warm_start"]["attack"]
    check_known(start, attacks, f"{where}.warm_start.attack", "attack")
    if attacks[start]["warm_start"] or attacks[start]["norm"] != entry["norm"]:
        raise UserError(f"{where}.warm_start.attack: {start} has to have norm {entry['norm']} and no warm start itself")
    for key in FROM_WARM_START:
        if key in given:
            raise UserError(f"{where}.{key}: it is that of {start}, where the attack begins; remove the key")
        if key in attacks[start]:
            entry[key] = attacks[start][key]


def _check_attack(entry: dict[str, Any], where: str) -> None:
    method = registry.load("attacks", entry["method"])
    _check_module(method, f"qnn_robustness/attacks/{entry['method']}.py")
    if entry["norm"] not in method.NORMS:
        raise UserError(f"{where}.norm: {entry['method']} has no '{entry['norm']}'; known: {', '.join(method.NORMS)}")
    _check_kind(entry, method, where)
    _check_access(entry, method, where)
    _check_parameters(entry, method, where)
    budgets = entry.get("budgets") or []
    for position, budget in enumerate(budgets):
        _check_budget(budget, entry, f"{where}.budgets.{position}")
        if parse_distance(budget) in map(parse_distance, budgets[:position]):
            raise UserError(f"{where}.budgets.{position}: {budget} is there already, written otherwise; remove one")


def _check_module(method: ModuleType, file: str) -> None:
    """Check what an attack says of itself: by it the attack is served and judged."""
    if method.ACCESS not in ACCESSES:
        raise UserError(f"{file}: ACCESS is '{method.ACCESS}'; expected {', '.join(ACCESSES)}")
    if isinstance(method.NORMS, str) or not isinstance(method.NORMS, Collection):
        raise UserError(f"{file}: NORMS is {method.NORMS!r}; expected a tuple of norms, or a dictionary by norm")
    if not isinstance(method.BUDGETED, bool):
        raise UserError(f"{file}: BUDGETED is {method.BUDGETED!r}; expected True or False")


def _check_detector(entry: dict[str, Any], detectors: Collection[str], where: str) -> None:
    """Check that an attack that has to evade a detector has one, and sees its scores as they are."""
    if entry["through"] not in detectors:
        raise UserError(f"{where}.through: {entry['method']} evades a detector; name one")
    if entry["temperature"] != 1:
        raise UserError(f"{where}.temperature: the detector scores the softmax at 1; remove the key")


def _check_kind(entry: dict[str, Any], method: ModuleType, where: str) -> None:
    """Check that an attack within budgets has some, and one that minimises the distance has none."""
    budgets = entry.get("budgets")
    if method.BUDGETED and not budgets:
        raise UserError(f"{where}: {entry['method']} needs budgets, for example [8/255]")
    if budgets and not method.BUDGETED:
        raise UserError(
            f"{where}.budgets: {entry['method']} minimises the distance and takes no budget; remove the key"
        )


def _check_access(entry: dict[str, Any], method: ModuleType, where: str) -> None:
    """Check that settings of gradients are for attacks that use them, and limits of queries for those that do not."""
    for key, plain in (("estimator", "straight_through"), ("temperature", 1)):
        if entry[key] != plain and method.ACCESS != "white_box":
            raise UserError(f"{where}.{key}: {entry['method']} uses no gradients; remove the key")
    if entry["query_budget"] and method.ACCESS == "white_box":
        raise UserError(
            f"{where}.query_budget: {entry['method']} uses gradients; queries are limited for black-box attacks only"
        )


def _check_parameters(entry: dict[str, Any], method: ModuleType, where: str) -> None:
    """Check what a method says of its parameters beyond their ranges."""
    check = getattr(method, "check_parameters", None)
    if check is not None:
        try:
            check(entry["lattice"], **entry["parameters"])
        except UserError as error:
            raise UserError(f"{where}.parameters.{error}") from None


def _check_budget(budget: float | str, entry: dict[str, Any], where: str) -> None:
    exact = parse_distance(budget)
    if exact <= 0:
        raise UserError(f"{where}: {budget} is no distance; expected more than 0")
    if entry["norm"] == "linf" and exact > 1:
        remedy = "expected at most 1" if "/" in str(budget) else f"did you mean {budget}/255?"
        raise UserError(f"{where}: {budget} exceeds the range of inputs, [0, 1]; {remedy}")
    if entry["lattice"] == "uint8" and exact < Fraction(1, 255):  # in every norm what a change by one level costs
        raise UserError(f"{where}: {budget} is below one 8-bit level (1/255); raise it or set lattice: float")
