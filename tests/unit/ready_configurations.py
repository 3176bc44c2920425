"""The configurations of the project, loaded as a run would load them."""

from __future__ import annotations

import copy
import re

import yaml

from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.documentation import ROOT, SCHEMA
from qnn_robustness.configuration.loading import load


def loaded(overlay: str | None = None, changes: dict | None = None) -> Configuration:
    """Return config.yaml with an overlay of config/, those that it builds on, and changes merged over it."""
    values = _read("config.yaml")
    for name in _chain(overlay) if overlay else []:
        values = _merged(values, _read(f"config/{name}"))
    return load(_merged(values, copy.deepcopy(changes or {})), SCHEMA)


def _chain(overlay: str) -> list[str]:
    """Return the overlays of the command at the head of one, which is the last of them."""
    text = (ROOT / "config" / overlay).read_text(encoding="utf-8").replace("\\\n#", " ")
    commands = [re.findall(r"config/(\w+\.yaml)", line) for line in text.splitlines() if "--configfile" in line]
    return next((names for names in commands if names[-1:] == [overlay]), [overlay])


def _read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def _merged(base: dict, overlay: dict) -> dict:
    """Return `overlay` merged over `base` key by key, as Snakemake merges configuration files."""
    result = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result
