"""Working on the samples that still need it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
from foolbox.models import Model
from foolbox.models.base import TransformBoundsWrapper

from qnn_robustness.attacks.crafting.queries import QueryCounter
from qnn_robustness.attacks.crafting.streams import serving


def counter_of(model: Model) -> QueryCounter | None:
    """Return the counter that a model is, or is the scaled view of, if it counts."""
    while isinstance(model, TransformBoundsWrapper):  # in front of a counter whose bounds are not [0, 1]
        model = model._model
    return model if isinstance(model, QueryCounter) else None


@contextmanager
def narrowed(model: Model, positions: np.ndarray) -> Iterator[None]:
    """Inside the block, model calls and random draws are for these samples (integer positions) alone.

    An attack that drops samples which have succeeded wraps the work on the rest in it, so that queries are
    counted for, and random streams advance for, the samples that are worked on. Blocks may be nested;
    positions are relative to the enclosing block.
    """
    with ExitStack() as stack:
        counter = counter_of(model)
        if counter is not None:
            stack.enter_context(counter.only(positions))
        streams = serving()
        if streams is not None:
            stack.enter_context(streams.only(positions))
        yield
