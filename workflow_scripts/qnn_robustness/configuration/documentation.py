"""Documentation of the configuration, generated from its schema; run as a module with `write` or `check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import write_text
from qnn_robustness.configuration.schema import Schema, load_schema

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "schemas" / "config.schema.yaml"
DOCUMENT = ROOT / "docs" / "configuration.md"
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
    "experiment": "`experiments.<name>`",
}
PARAMETERS = {
    "training_parameters": "`trainings.<name>.parameters`",
    "attack_parameters": "`attacks.<name>.parameters`",
    "preprocessor_parameters": "`preprocessors.<name>.parameters`",
}
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def document(schema: Schema) -> str:
    """Return the documentation of every key in Markdown: type, range, default, meaning."""
    parts = [INTRODUCTION + schema["description"], _section("Top level", schema, schema)]
    parts += [_section(title, schema["$defs"][name], schema) for name, title in SECTIONS.items()]
    for name, title in PARAMETERS.items():
        for method, part in schema["$defs"][name].items():
            parts.append(_section(f"{title}, method `{method}`", part, schema))
    return "\n\n".join(parts) + "\n"


def _section(title: str, part: Schema, schema: Schema) -> str:
    rows = _rows(part, schema, "")
    if not rows:
        return f"## {title}\n\nNone."
    return "\n".join([f"## {title}\n", "| key | type | default | meaning |", "|---|---|---|---|", *map(_row, rows)])


def _rows(part: Schema, schema: Schema, prefix: str) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, entry in part.get("properties", {}).items():
        entry = _resolved(entry, schema)
        required = name in part.get("required", ())
        default = "required" if required else _value(entry["default"]) if "default" in entry else ""
        rows.append((f"`{prefix}{name}`", kind(entry, schema), default, entry.get("description", "")))
        rows += _rows(entry, schema, f"{prefix}{name}.")
    return rows


def _resolved(entry: Schema, schema: Schema) -> Schema:
    """Return an entry with its `$ref` filled in; its own keys win."""
    name = entry.get("$ref", "").removeprefix("#/$defs/")
    return {**schema["$defs"].get(name, {}), **entry}


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def kind(entry: Schema, schema: Schema) -> str:
    """Return the type and range of a key in words."""
    entry = _resolved(entry, schema)
    if "enum" in entry:
        return " or ".join(map(_value, entry["enum"]))
    if "anyOf" in entry:
        return "number or fraction"
    types = entry["type"] if isinstance(entry["type"], list) else [entry["type"]]
    words = ["null" if name == "null" else _one(name, entry, schema) for name in types]
    limits = [f"{sign} {entry[rule]}" for rule, sign in LIMITS.items() if rule in entry]
    return ", ".join([" or ".join(words), *limits])


def _one(name: str, entry: Schema, schema: Schema) -> str:
    if name == "array":
        low, high = entry.get("minItems", 0), entry.get("maxItems")
        number = f" of {low}" if low == high else ""
        return f"list{number} ({kind(entry['items'], schema)})"
    return {"object": "mapping", "boolean": "true or false"}.get(name, name)


def _value(value: Any) -> str:
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def main(command: str) -> None:
    """Write docs/configuration.md (`write`), or compare it with the schema (`check`).

    Raises UserError when they disagree, or for another command.
    """
    text = document(load_schema(SCHEMA))
    if command == "write":
        write_text(DOCUMENT, text)
    elif command == "check":
        if not DOCUMENT.is_file() or DOCUMENT.read_text(encoding="utf-8") != text:
            raise UserError(f"{DOCUMENT} is not what the schema makes; run this module with `write`")
    else:
        raise UserError(f"unknown command '{command}'; known: check, write")


if __name__ == "__main__":
    try:
        main(" ".join(sys.argv[1:]))
    except UserError as error:
        sys.exit(f"error: {error}")
