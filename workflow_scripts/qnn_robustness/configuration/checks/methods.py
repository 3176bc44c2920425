"""Methods of trainings, attacks and preprocessors, each with parameters of its own."""

from __future__ import annotations

from typing import Any

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks.contracts import check_contract
from qnn_robustness.configuration.checks.names import check_known
from qnn_robustness.configuration.distance import parse_distance
from qnn_robustness.configuration.schema import Schema, checked, definition

# The package of a section's methods.
PACKAGES = {"trainings": "training", "attacks": "attacks", "preprocessors": "defenses"}


def complete_method(schema: Schema, section: str, entry: dict[str, Any], where: str) -> None:
    """Check the method of an entry and its parameters, and fill in the defaults of these."""
    parameters = f"{section.removesuffix('s')}_parameters"
    method = entry["method"]
    check_known(method, registry.names(PACKAGES[section]), f"{where}.method", "method")
    if method not in schema["$defs"][parameters]:
        raise UserError(f"{where}.method: schemas/config.schema.yaml lacks '{method}' under $defs.{parameters}")
    rule = definition(schema, parameters, method)
    check_contract(PACKAGES[section], method, rule["properties"])
    entry["parameters"] = checked(entry["parameters"], rule, f"{where}.parameters")
    for name, part in rule["properties"].items():
        if part.get("$ref") == "#/$defs/distance":
            entry["parameters"][name] = unit_distance(entry["parameters"][name], part, f"{where}.parameters.{name}")


def unit_distance(value: float | str, rule: Schema, where: str) -> float:
    """Return a distance as a number; 0 is one where it is the default."""
    exact = parse_distance(value)
    if exact > 1 or exact < 0 or (exact == 0 and rule.get("default") != 0):
        raise UserError(f"{where}: {value} is not within (0, 1], the range of inputs; expected e.g. 8/255")
    return float(exact)
