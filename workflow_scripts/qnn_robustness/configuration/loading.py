"""From what a user wrote to a configuration that was checked."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from qnn_robustness.configuration.checks.attacks import complete_attacks
from qnn_robustness.configuration.checks.datasets import check_datasets
from qnn_robustness.configuration.checks.densities import check_densities
from qnn_robustness.configuration.checks.diagnostics import check_diagnostics
from qnn_robustness.configuration.checks.experiments import check_experiments, check_run
from qnn_robustness.configuration.checks.figures import check_figures
from qnn_robustness.configuration.checks.methods import PACKAGES, complete_method
from qnn_robustness.configuration.checks.models import complete_models
from qnn_robustness.configuration.checks.static_samples import check_static_samples
from qnn_robustness.configuration.checks.trainings import check_trainings
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.schema import Schema, checked, load_schema


def load(given: dict[str, Any], schema_path: Path) -> Configuration:
    """Validate a configuration and return it with defaults filled in.

    Raises UserError, with one line, for anything that is wrong: before any job starts.
    """
    schema = load_schema(schema_path)
    configuration = Configuration(_with_defaults(given, schema))
    check_datasets(configuration)
    check_densities(configuration)
    complete_models(configuration, schema)
    check_trainings(configuration)
    complete_attacks(configuration, given["attacks"])
    check_experiments(configuration)
    check_run(configuration)
    check_figures(configuration)
    check_static_samples(configuration)
    check_diagnostics(configuration)
    return configuration


def _with_defaults(given: dict[str, Any], schema: Schema) -> dict[str, Any]:
    values = checked(given, schema, "")
    for name, entry in values["models"].items():
        # a change to a recipe has no defaults: what it leaves out is the training's
        entry["recipes"] = copy.deepcopy(given["models"][name].get("recipes", {}))
    for section in PACKAGES:
        for name, entry in values[section].items():
            complete_method(schema, section, entry, f"{section}.{name}")
    for precision, part in schema["properties"]["kernels"]["properties"].items():
        values["kernels"].setdefault(precision, part["default"])
    return values
