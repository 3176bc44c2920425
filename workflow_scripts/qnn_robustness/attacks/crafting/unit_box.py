"""Attacks written for inputs in [0, 1], on models with other bounds."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import eagerpy as ep
from foolbox.models import Model

LENGTHS = ("epsilon", "early_stop")  # arguments of attacks, in the unit of the inputs


def in_unit_box(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method `run` of a Foolbox attack, written for inputs in [0, 1], for a model of any bounds.

    Inputs, `starting_points` and lengths are scaled, and so is what comes back. Parameters of the attack are, as
    always, for inputs in [0, 1].
    """

    @wraps(run)
    def scaled(self: Any, model: Model, inputs: Any, criterion: Any = None, **arguments: Any) -> Any:
        low, high = model.bounds
        if (low, high) == (0, 1):
            return run(self, model, inputs, criterion, **arguments)

        def to_unit(points: Any) -> Any:
            values, restore = ep.astensor_(points)
            return restore(((values - low) / (high - low)).clip(0, 1))

        for name in LENGTHS:
            if arguments.get(name) is not None:
                arguments[name] = arguments[name] / (high - low)
        if arguments.get("starting_points") is not None:
            arguments["starting_points"] = to_unit(arguments["starting_points"])
        found = run(self, model.transform_bounds((0, 1)), to_unit(inputs), criterion, **arguments)
        points, restore = ep.astensor_(found)
        return restore((low + (high - low) * points).clip(low, high))

    return scaled
