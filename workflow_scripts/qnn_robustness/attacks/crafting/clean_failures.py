"""Failures of Foolbox's C&W and EAD, which it returns as black images."""

from __future__ import annotations

from typing import Any

import eagerpy as ep
from foolbox.devutils import atleast_kd, flatten
from foolbox.models import Model


class CleanFailures:
    """A mixin that gives a sample back as it was where the attack found nothing.

    Foolbox starts from zeros in the place of the best sample found. Most networks misclassify a black image: a failure
    would pass for a success.
    """

    def run(self, model: Model, inputs: Any, criterion: Any, **arguments: Any) -> Any:
        x, restore = ep.astensor_(inputs)
        found = ep.astensor(super().run(model, inputs, criterion, **arguments))
        failed = flatten(found.abs()).max(axis=-1) == 0
        return restore(ep.where(atleast_kd(failed, x.ndim), x, found))
