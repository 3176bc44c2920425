"""Validation of the configuration against its JSON schema, with errors of one line and defaults filled in."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from qnn_robustness.common.errors import UserError, did_you_mean

Schema = dict[str, Any]
PATTERNS = {
    "^[a-z][a-z0-9_]*$": "lower-case letters, digits and _, a letter first",
    "^[a-z][a-z0-9_]*/[a-z][a-z0-9_]*$": "<model>/<training>",
    "^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$": "sha256: or md5: and 64 or 32 lower-case hex digits",
}
TYPES = {"array": "list", "object": "mapping", "boolean": "true or false"}  # as the documentation calls them


def _is_integer(checker: object, value: object) -> bool:
    """Return whether a value is one: to JSON Schema 20.0 is, too, but not to what counts or slices with it."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(checker: object, value: object) -> bool:
    """Return whether a value is a finite number: NaN is below no minimum."""
    return _is_integer(checker, value) or (isinstance(value, float) and math.isfinite(value))


Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)


@cache
def load_schema(path: Path) -> Schema:
    """Return the schema of the configuration as a dictionary."""
    # libyaml's loader: it is ten times as fast, and every plan reads the schema
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)


def definition(schema: Schema, *names: str) -> Schema:
    """Return the definition `$defs/<names...>` as a schema of its own."""
    part: Any = schema["$defs"]
    for name in names:
        part = part[name]
    return {**part, "$defs": schema["$defs"]}


def checked(value: Any, schema: Schema, where: str) -> Any:
    """Return a copy of `value` with the defaults of `schema` filled in.

    Raises UserError naming the key, what is wrong with it and what would be right.
    """
    for place in _keys_of_other_types(value, where):
        raise UserError(f"{place} is no text; put it between quotes")
    errors = list(Validator(schema).iter_errors(value))
    if errors:
        raise UserError(_line(max(errors, key=lambda error: len(error.absolute_path)), where))
    return _with_defaults(copy.deepcopy(value), schema, schema["$defs"])


def _keys_of_other_types(value: Any, where: str) -> Iterator[str]:
    """Yield where keys are no strings: YAML makes numbers of digits, and true or false of words such as `on`."""
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                yield f"{where or 'top level'}: the key {key!r}"
            yield from _keys_of_other_types(part, f"{where}.{key}".lstrip("."))


def _with_defaults(value: Any, schema: Schema, definitions: Schema) -> Any:
    schema = _resolved(schema, definitions)
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    for name, part in properties.items():
        part = _resolved(part, definitions)
        if name not in value and "default" in part:
            value[name] = copy.deepcopy(part["default"])
    rest = schema.get("additionalProperties")
    for name in value:
        part = properties.get(name, rest)
        if isinstance(part, dict):
            value[name] = _with_defaults(value[name], part, definitions)
    return value


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """Return `schema` with a `$ref` replaced by what it names; keys beside the `$ref` win."""
    if "$ref" not in schema:
        return schema
    target = definitions[schema["$ref"].removeprefix("#/$defs/")]
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def _line(error: jsonschema.ValidationError, where: str) -> str:
    """Say in one line where the configuration is wrong and what would be right."""
    place = ".".join([where, *map(str, error.absolute_path)]).lstrip(".") or "top level"
    rule, found = error.validator, error.instance
    if rule == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = sorted(set(found) - set(known))[0]
        return f"{place}: unknown key '{unknown}'; {did_you_mean(unknown, known)}"
    if rule == "required":
        missing = next(name for name in error.validator_value if name not in found)
        return f"{place}: the key '{missing}' is missing"
    if rule == "type":
        expected = error.validator_value
        names = [TYPES.get(name, name) for name in (expected if isinstance(expected, list) else [expected])]
        shown = "null" if found is None else repr(found)
        return f"{place}: {shown} is of the wrong type; expected {' or '.join(names)}"
    if rule == "enum":
        return f"{place}: {found!r} is not known; {did_you_mean(str(found), map(str, error.validator_value))}"
    limits = {
        "minimum": "at least",
        "exclusiveMinimum": "greater than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    if rule in limits:
        return f"{place}: {found!r} is out of range; expected {limits[rule]} {error.validator_value}"
    if rule == "anyOf" and (word := next((part["const"] for part in error.validator_value if "const" in part), None)):
        return f"{place}: {found!r} is neither a positive number nor '{word}'"
    if rule == "anyOf":  # the other alternatives of the schema are distances
        return f"{place}: {found!r} is no distance; expected a positive number or a fraction such as 8/255"
    if rule in ("minItems", "minProperties"):
        return f"{place}: {found!r} is too short; expected at least {error.validator_value}"
    if rule == "pattern" and error.validator_value in PATTERNS:
        return f"{place}: {found!r} is not as expected: {PATTERNS[error.validator_value]}"
    return f"{place}: {error.message}"
