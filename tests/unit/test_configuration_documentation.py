"""The schema documents every key, its defaults are valid, and docs/configuration.md is what it makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml
from ready_configurations import loaded

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration import documentation
from qnn_robustness.configuration.schema import load_schema

ROOT = documentation.ROOT
SCHEMA = load_schema(documentation.SCHEMA)


def properties(part: object, where: str = "") -> Iterator[tuple[str, dict]]:
    """Yield every property of a schema, at any depth, with the place it stands."""
    if isinstance(part, list):
        for entry in part:
            yield from properties(entry, where)
    if isinstance(part, dict):
        for name, entry in part.get("properties", {}).items():
            yield f"{where}.{name}", entry
        for key, entry in part.items():
            yield from properties(entry, f"{where}.{key}")


ALL = dict(properties(SCHEMA))


def test_the_documentation_is_what_the_schema_makes() -> None:
    documentation.main("check")


def test_a_change_of_the_schema_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = documentation.SCHEMA.read_text(encoding="utf-8").replace("Samples attacked at once", "Samples attacked")
    changed = tmp_path / "schema.yaml"
    changed.write_text(text, encoding="utf-8")
    monkeypatch.setattr(documentation, "SCHEMA", changed)
    with pytest.raises(UserError, match="write"):
        documentation.main("check")


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"default": 1, "minimum": 2}, "default: 1 is out of range; expected at least 2"),
        ({"description": " "}, "lacks a description"),
    ],
)
def test_an_entry_that_is_none_is_told_in_one_line(part: dict, told: str) -> None:
    seed = {**SCHEMA["properties"]["seed"], **part}
    with pytest.raises(UserError, match=rf"schema\.yaml: Top level, seed: {told}$"):
        documentation.document({**SCHEMA, "properties": {**SCHEMA["properties"], "seed": seed}})


def test_every_figure_is_named_where_experiments_feed_them() -> None:
    text = SCHEMA["$defs"]["experiment"]["properties"]["figures"]["description"]
    assert [name for name in registry.names("figures") if f"`{name}`" not in text] == []


def test_a_change_of_the_schema_is_noticed_in_the_page_of_attacks() -> None:
    text = documentation.attacks(SCHEMA)
    assert text == documentation.ATTACKS.read_text(encoding="utf-8")
    changed = {**SCHEMA, "$defs": {**SCHEMA["$defs"], "attack_parameters": {**SCHEMA["$defs"]["attack_parameters"]}}}
    square = changed["$defs"]["attack_parameters"]["square"]["properties"]
    changed["$defs"]["attack_parameters"]["square"] = {
        "properties": {**square, "queries": {**square["queries"], "default": 4999}}
    }
    assert documentation.attacks(changed) != text


@pytest.mark.parametrize("package", ["training", "defenses"])
def test_every_defense_has_a_section(package: str) -> None:
    page = ROOT / "docs" / "defenses.md"
    sections = page.read_text(encoding="utf-8").splitlines()
    missing = [name for name in registry.names(package) if f"### {name}" not in sections]
    assert not missing, f"{page} lacks the headings: {', '.join(f'### {name}' for name in missing)}"


def test_an_attack_without_a_section_is_told_where_it_belongs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "attacks.md"
    page.write_text(documentation.ATTACKS.read_text(encoding="utf-8").replace("parameters:zoo", "parameters:zo"))
    monkeypatch.setattr(documentation, "ATTACKS", page)
    with pytest.raises(UserError, match=r"attacks\.md: the page lacks the marks <!-- parameters:zoo -->"):
        documentation.attacks(SCHEMA)


def test_every_key_of_the_schema_is_in_the_documentation() -> None:
    text = documentation.DOCUMENT.read_text(encoding="utf-8")
    missing = [place for place in ALL if f"{place.rpartition('.')[2]}`" not in text]
    assert len(ALL) > 50
    assert missing == []


@pytest.mark.parametrize("place", ALL)
def test_every_property_has_a_meaning(place: str) -> None:
    assert ALL[place].get("description", "").strip().endswith(".")


@pytest.mark.parametrize("place", [place for place, part in ALL.items() if "default" in part])
def test_defaults_satisfy_their_own_schema(place: str) -> None:
    rule = {**ALL[place], "$defs": SCHEMA["$defs"]}
    jsonschema.Draft202012Validator(rule).validate(ALL[place]["default"])


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_unknown_keys_are_refused_everywhere() -> None:
    """Each mapping with fixed keys is closed; otherwise a misspelt key would be ignored."""

    def open_mappings(part: object, where: str) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("properties"), dict) and part.get("additionalProperties") is not False:
                yield where
            for key, entry in part.items():
                yield from open_mappings(entry, f"{where}.{key}")

    assert list(open_mappings(SCHEMA, "")) == []


@pytest.mark.parametrize(
    ("definition", "package"),
    [
        ("training_parameters", "training"),
        ("attack_parameters", "attacks"),
        ("preprocessor_parameters", "defenses"),
    ],
)
def test_every_described_method_exists(definition: str, package: str) -> None:
    assert set(SCHEMA["$defs"][definition]) <= set(registry.names(package))


OVERLAYS = sorted(path.name for path in (ROOT / "config").glob("*.yaml"))
# It has no images to train on: a user adds a network of their own.
UNTRAINED = "vww_eval.yaml"


@pytest.mark.parametrize("overlay", [None, *(name for name in OVERLAYS if name != UNTRAINED)], ids=str)
def test_the_configurations_of_the_project_are_valid(overlay: str | None) -> None:
    configuration = loaded(overlay)
    assert list(configuration.experiments) == configuration.values["run"]


def test_a_configuration_without_training_images_asks_for_a_network() -> None:
    with pytest.raises(UserError, match=r"'vww_mobilenet' is trained here, .* or give the network by files"):
        loaded(UNTRAINED)


def test_entries_of_the_paper_protocol_write_every_parameter_out() -> None:
    attacks = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))["attacks"]
    for dataset in ("cifar10", "vww", "coffee"):
        methods = {entry["method"] for name, entry in attacks.items() if f"_paper_{dataset}" in name}
        # the ten attacks of the paper, of which the one of Carlini and Wagner is two here
        assert len(methods) == 11, dataset
    for name, entry in attacks.items():
        assert (entry["protocol"], entry["lattice"]) == ("paper", "float"), name
        known = SCHEMA["$defs"]["attack_parameters"][entry["method"]]["properties"]
        assert set(entry["parameters"]) == set(known), name


def test_the_density_model_is_of_lossless_images_wherever_their_overlay_is_named() -> None:
    configuration = loaded("preprocessors_published.yaml")  # names cifar10_images.yaml first
    assert configuration.density("cifar10_pixel_cnn")["dataset"] == "cifar10_lossless"
