"""The tables of docs/attacks.md, from the schema and from the entries of both protocols."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from qnn_robustness.common import registry
from qnn_robustness.configuration.schema import Schema
from qnn_robustness.configuration.wording import kind, resolved, written
from qnn_robustness.evaluation.publish import markdown, with_table

SETTINGS = ("budgets", "samples", "query_budget")  # beside the parameters of a method
Entries = dict[str, dict[str, Any]]


def filled(text: str, schema: Schema, sound: Entries, paper: Entries) -> str:
    """Return docs/attacks.md with its tables between their marks; `sound` and `paper` are `attacks` of configurations.

    Raises UserError when a method has no marks.
    """
    text = with_table(text, "attacks", markdown(_overview(sound, paper)))
    for method in registry.names("attacks"):
        table = _parameters(method, schema, of_method(sound, method), of_method(paper, method))
        text = with_table(text, f"parameters:{method}", markdown(table))
    return text


def of_method(entries: Entries, method: str) -> Entries:
    return {name: entry for name, entry in entries.items() if entry["method"] == method}


def _overview(sound: Entries, paper: Entries) -> pd.DataFrame:
    rows = []
    for method in registry.names("attacks"):
        module = registry.load("attacks", method)
        rows.append(
            {
                "method": f"[{method}](#{method})",
                "access": module.ACCESS,
                "budgeted": "yes" if module.BUDGETED else "no",
                "norms": ", ".join(module.NORMS),
                "sound": _names(of_method(sound, method)),
                "paper": _names(of_method(paper, method)),
            }
        )
    return pd.DataFrame(rows)


def _names(entries: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in entries)


def _parameters(method: str, schema: Schema, sound: Entries, paper: Entries) -> pd.DataFrame:
    rows = []
    shared = schema["$defs"]["attack"]["properties"]
    for name in SETTINGS:
        values = [_values(entries, lambda entry, name=name: entry.get(name)) for entries in (sound, paper)]
        if any(values):
            rows.append(_row(name, shared[name], schema, values))
    for name, part in schema["$defs"]["attack_parameters"][method]["properties"].items():
        default = part["default"]
        values = [
            _values(entries, lambda entry, name=name, default=default: entry.get("parameters", {}).get(name, default))
            for entries in (sound, paper)
        ]
        rows.append(_row(name, part, schema, values))
    return pd.DataFrame(rows)


def _row(name: str, part: Schema, schema: Schema, values: list[str]) -> dict[str, str]:
    part = resolved(part, schema)
    default = written(part["default"]) if "default" in part else ""
    sound, paper = values
    cells = {"key": f"`{name}`", "type": kind(part, schema), "default": default, "sound": sound, "paper": paper}
    return {**cells, "meaning": part.get("description", "").replace("|", "\\|")}


def _values(entries: Entries, of) -> str:
    """Return the values that entries have, each once, in their order."""
    found = [of(entry) for entry in entries.values()]
    return " / ".join(dict.fromkeys(written(value) for value in found if value is not None))
