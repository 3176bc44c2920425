"""The type, range and value of a key of the configuration in words."""

from __future__ import annotations

from typing import Any

from qnn_robustness.configuration.schema import Schema

LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def resolved(entry: Schema, schema: Schema) -> Schema:
    """Return an entry with its `$ref` filled in; its own keys win."""
    name = entry.get("$ref", "").removeprefix("#/$defs/")
    return {**schema["$defs"].get(name, {}), **entry}


def kind(entry: Schema, schema: Schema) -> str:
    """Return the type and range of a key in words."""
    entry = resolved(entry, schema)
    if "enum" in entry:
        return " or ".join(map(written, entry["enum"]))
    if "anyOf" in entry:
        word = next((part["const"] for part in entry["anyOf"] if "const" in part), None)
        return f"positive number or {written(word)}" if word else "number or fraction"
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


def written(value: Any) -> str:
    """Return a value as it is written in a configuration."""
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"
