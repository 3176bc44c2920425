"""What a contributor leaves out of a new module is told before any job starts."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from configuration_builder import VALID, loaded

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks import contracts
from qnn_robustness.configuration.checks.contracts import check_contract
from qnn_robustness.configuration.documentation import SCHEMA
from qnn_robustness.configuration.schema import definition, load_schema

ATTACK = """
ACCESS = "score"
NORMS = ("linf",)
BUDGETED = True


def build(norm, *, steps):
    return None
"""
DEFENSE = """
def apply(samples, *, width):
    return samples


def operations(shape, *, width):
    return 0
"""
TRAINING = """
import a_package_that_nobody_has


def objective(network, material, *, weight):
    return None
"""
WRITTEN = {
    "attacks": (ATTACK, {"steps"}),
    "defenses": (DEFENSE, {"width"}),
    "training": (TRAINING, {"weight", "teacher"}),
}
Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Return a function that puts a module `own` into a package of the library."""

    def add(package: str, text: str) -> None:
        folder = tmp_path / package
        folder.mkdir(exist_ok=True)
        (folder / "own.py").write_text(text)
        parent = importlib.import_module(f"qnn_robustness.{package}")
        monkeypatch.setattr(parent, "__path__", [*parent.__path__, str(folder)])
        _forget()

    yield add
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    registry.names.cache_clear()
    contracts._top_level.cache_clear()
    importlib.invalidate_caches()
    sys.modules.pop("qnn_robustness.attacks.own", None)


@pytest.mark.parametrize("package", WRITTEN)
def test_what_contributing_asks_for_is_enough(write: Write, package: str) -> None:
    text, parameters = WRITTEN[package]
    write(package, text)
    check_contract(package, "own", parameters)


@pytest.mark.parametrize(
    ("package", "was", "becomes", "told"),
    [
        ("attacks", "NORMS =", "NORM =", "lacks NORMS; CONTRIBUTING"),
        ("attacks", "def build", "def make", "lacks build; CONTRIBUTING"),
        ("attacks", "norm, *, steps", "*, steps", r"build takes \[\] first; expected \['norm'\]"),
        ("attacks", "steps)", "step_size)", "build does not take 'steps', which the schema has"),
        ("attacks", "steps)", "steps, restarts)", "build needs 'restarts', which the schema lacks"),
        ("attacks", "return None", "return (", r"line \d+: "),
        ("defenses", "def operations", "def work", "lacks operations; CONTRIBUTING"),
        ("defenses", "samples, *, width", "samples, draws, *, breadth", "apply does not take 'width'"),
        ("defenses", "def operations", "CHANNELS = 3\n\n\ndef operations", r"CHANNELS is 3; expected a tuple, such as"),
        ("training", "def objective", "def loss", "lacks objective; CONTRIBUTING"),
        ("training", "weight)", "weight, beta)", "objective needs 'beta'"),
    ],
)
def test_what_is_missing_is_named(write: Write, package: str, was: str, becomes: str, told: str) -> None:
    text, parameters = WRITTEN[package]
    assert was in text
    write(package, text.replace(was, becomes))
    with pytest.raises(UserError, match=rf"^qnn_robustness/{package}/own\.py: {told}"):
        check_contract(package, "own", parameters)


def test_defaults_and_further_parameters_are_free(write: Write) -> None:
    write("attacks", ATTACK.replace("*, steps", "**parameters"))
    check_contract("attacks", "own", {"steps", "restarts"})
    write("attacks", ATTACK.replace("*, steps", "*, steps, momentum=0.9"))
    check_contract("attacks", "own", {"steps"})
    write("defenses", DEFENSE.replace("samples, *", "samples, draws, *"))
    check_contract("defenses", "own", {"width"})


@pytest.mark.parametrize("package", contracts.CONTRACTS)
def test_every_method_has_what_is_asked(package: str) -> None:
    section = {"attacks": "attack", "defenses": "preprocessor", "training": "training"}[package]
    schema = load_schema(SCHEMA)
    for name in registry.names(package):
        rule = definition(schema, f"{section}_parameters", name)
        check_contract(package, name, rule["properties"])


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ('"score"\n', '"scores"\n', "ACCESS is 'scores'; expected white_box, score, decision"),
        ('("linf",)', '"linf"', "NORMS is 'linf'; expected a tuple"),
        ("BUDGETED = True", "BUDGETED = 1", "BUDGETED is 1; expected True or False"),
        ("NORMS", "from nowhere_at_all import nothing\nNORMS", "cannot be imported: No module named 'nowhere_at_all'"),
    ],
)
def test_an_attack_says_what_it_is(
    write: Write, monkeypatch: pytest.MonkeyPatch, was: str, becomes: str, told: str
) -> None:
    """By these words it is served and judged: a slip would leave it out of the checks for masked gradients."""
    write("attacks", ATTACK.replace(was, becomes))
    schema = load_schema(SCHEMA)
    known = {**schema["$defs"]["attack_parameters"], "own": schema["$defs"]["attack_parameters"]["fgsm"]}
    monkeypatch.setitem(schema["$defs"], "attack_parameters", known)
    monkeypatch.setattr("qnn_robustness.configuration.checks.methods.check_contract", lambda *arguments: None)
    own = {"method": "own", "norm": "linf", "budgets": ["1/255"]}
    with pytest.raises(UserError, match=rf"^qnn_robustness/attacks/own\.py: {told}"):
        loaded(copy.deepcopy({**VALID, "attacks": {**VALID["attacks"], "own": own}}))
