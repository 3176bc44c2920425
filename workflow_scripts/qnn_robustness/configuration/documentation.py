"""Documentation of the configuration, generated from its schema; run as a module with `write` or `check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import write_text
from qnn_robustness.configuration import attack_documentation
from qnn_robustness.configuration.schema import Schema, checked, load_schema
from qnn_robustness.configuration.wording import kind, resolved, written

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "schemas" / "config.schema.yaml"
DOCUMENT = ROOT / "docs" / "configuration.md"
ATTACKS = ROOT / "docs" / "attacks.md"
INTRODUCTION = """\
# Configuration

Generated from `schemas/config.schema.yaml` by `PYTHONPATH=workflow_scripts python -m
qnn_robustness.configuration.documentation write`; edit the schema instead.

"""
SECTIONS = {
    "dataset": "`datasets.<name>`",
    "model": "`models.<name>`",
    "training": "`trainings.<name>`, and changes in `models.<name>.recipes.<training>`",
    "attack": "`attacks.<name>`",
    "preprocessor": "`preprocessors.<name>`",
    "detector": "`detectors.<name>`",
    "density": "`densities.<name>`",
    "experiment": "`experiments.<name>`",
}
PARAMETERS = {
    "training_parameters": "`trainings.<name>.parameters`",
    "attack_parameters": "`attacks.<name>.parameters`",
    "preprocessor_parameters": "`preprocessors.<name>.parameters`",
}


def document(schema: Schema) -> str:
    """Return the documentation of every key in Markdown: type, range, default, meaning."""
    parts = [INTRODUCTION + schema["description"], _section("Top level", schema, schema)]
    parts += [_section(title, schema["$defs"][name], schema) for name, title in SECTIONS.items()]
    for name, title in PARAMETERS.items():
        for method, part in schema["$defs"][name].items():
            parts.append(_section(f"{title}, method `{method}`", part, schema))
    return "\n\n".join(parts) + "\n"


def _section(title: str, part: Schema, schema: Schema) -> str:
    rows = _rows(part, schema, title, "")
    if not rows:
        return f"## {title}\n\nNone."
    return "\n".join([f"## {title}\n", "| key | type | default | meaning |", "|---|---|---|---|", *map(_row, rows)])


def _rows(part: Schema, schema: Schema, title: str, prefix: str) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, entry in part.get("properties", {}).items():
        entry = resolved(entry, schema)
        _check(entry, schema, f"{SCHEMA}: {title}, {prefix}{name}")
        required = name in part.get("required", ())
        default = "required" if required else written(entry["default"]) if "default" in entry else ""
        rows.append((f"`{prefix}{name}`", kind(entry, schema), default, entry.get("description", "")))
        rows += _rows(entry, schema, title, f"{prefix}{name}.")
    return rows


def _check(entry: Schema, schema: Schema, where: str) -> None:
    """Check that an entry says what it means, and that its default is a value that it allows."""
    if not entry.get("description", "").strip():
        raise UserError(f"{where}: lacks a description")
    if "default" in entry:
        checked(entry["default"], {**entry, "$defs": schema["$defs"]}, f"{where}: default")


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def attacks(schema: Schema) -> str:
    """Return docs/attacks.md with its tables made anew."""
    sound, paper = (
        yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("config.yaml", "config/paper.yaml")
    )
    text = ATTACKS.read_text(encoding="utf-8")
    try:
        return attack_documentation.filled(text, schema, _on_cifar10(sound), _on_cifar10(paper))
    except UserError as error:
        raise UserError(f"{ATTACKS}: {error}") from None


def _on_cifar10(values: dict[str, Any]) -> dict[str, Any]:
    """Return the attacks of the experiments on CIFAR-10, and those whose method no such experiment uses."""
    used = {
        attack
        for name, experiment in values["experiments"].items()
        if name.startswith("cifar10_")
        for attack in experiment["attacks"]
    }
    methods = {values["attacks"][name]["method"] for name in used}
    return {name: entry for name, entry in values["attacks"].items() if name in used or entry["method"] not in methods}


def main(command: str) -> None:
    """Write docs/configuration.md and docs/attacks.md (`write`), or compare them with the schema (`check`).

    Raises UserError when they disagree, or for another command.
    """
    schema = load_schema(SCHEMA)
    documents = {DOCUMENT: document(schema), ATTACKS: attacks(schema)}
    if command not in ("write", "check"):
        raise UserError(f"unknown command '{command}'; known: check, write")
    for path, text in documents.items():
        if command == "write":
            write_text(path, text)
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            raise UserError(f"{path} is not what the schema makes; run this module with `write`")


if __name__ == "__main__":
    try:
        main(" ".join(sys.argv[1:]))
    except UserError as error:
        sys.exit(f"error: {error}")
