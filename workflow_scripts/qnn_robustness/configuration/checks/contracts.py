"""What the module of a method has to have, read from its source, so that a new one fails when it is planned.

Sources are parsed and not imported, as trainings would bring TensorFlow along.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.registry import module_name


@dataclass(frozen=True)
class Contract:
    """`function` takes the parameters of the configuration behind `leading` arguments; `names` are there beside it."""

    function: str
    leading: tuple[str, ...]
    names: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()  # arguments that may follow the leading ones
    withheld: tuple[str, ...] = ()  # parameters that other jobs turn into `material`


CONTRACTS = {
    "attacks": Contract("build", ("norm",), ("ACCESS", "NORMS", "BUDGETED")),
    "defenses": Contract("apply", ("samples",), ("operations",), optional=("draws",)),
    "training": Contract("objective", ("network", "material"), withheld=("teacher", "sources", "static_attacks")),
}


def check_names(package: str, name: str, names: Collection[str]) -> None:
    """Check that a module has the `names` that the project asks of it.

    Raises UserError, with one line that names the file.
    """
    functions, others = _top_level(package, name)
    for wanted in names:
        if wanted not in functions and wanted not in others:
            raise UserError(f"qnn_robustness/{package}/{name}.py: lacks {wanted}; CONTRIBUTING.md says what it is")


def check_contract(package: str, name: str, parameters: Collection[str]) -> None:
    """Check that the module of a method has what the project asks of it, and takes the `parameters` of the schema.

    Raises UserError, with one line that names the file.
    """
    contract, file = CONTRACTS[package], f"qnn_robustness/{package}/{name}.py"
    check_names(package, name, (contract.function, *contract.names))
    functions, others = _top_level(package, name)
    if package == "defenses" and isinstance(channels := others.get("CHANNELS"), ast.Constant):
        raise UserError(f"{file}: CHANNELS is {channels.value!r}; expected a tuple, such as (1, 3)")
    if contract.function not in functions:
        return  # made by other means than `def`
    arguments = functions[contract.function]
    places = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    first = len(contract.leading)
    taken = {*places[first:], *(argument.arg for argument in arguments.kwonlyargs)} - set(contract.optional)
    given = set(parameters) - set(contract.withheld)
    if tuple(places[:first]) != contract.leading:
        raise UserError(f"{file}: {contract.function} takes {places[:first]} first; expected {list(contract.leading)}")
    if unknown := sorted(given - taken) if arguments.kwarg is None else []:
        raise UserError(f"{file}: {contract.function} does not take '{unknown[0]}', which the schema has")
    if missing := sorted(_needed(arguments) & taken - given):
        raise UserError(f"{file}: {contract.function} needs '{missing[0]}', which the schema lacks")


def _needed(arguments: ast.arguments) -> set[str]:
    """Return the names of the arguments without a default."""
    places = [*arguments.posonlyargs, *arguments.args]
    without = places[: len(places) - len(arguments.defaults)]
    by_name = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {argument.arg for argument in (*without, *(argument for argument, default in by_name if default is None))}


@cache
def _top_level(package: str, name: str) -> tuple[dict[str, ast.arguments], dict[str, ast.expr | None]]:
    """Return the functions of a module with their arguments, and its other names with what they are assigned, if so."""
    origin = importlib.util.find_spec(module_name(package, name)).origin
    try:
        tree = ast.parse(Path(origin).read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise UserError(f"qnn_robustness/{package}/{name}.py: line {error.lineno}: {error.msg}") from None
    functions = {node.name: node.args for node in tree.body if isinstance(node, ast.FunctionDef)}
    return functions, {name: getattr(node, "value", None) for node in tree.body for name in _names(node)}


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name) for alias in node.names]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
