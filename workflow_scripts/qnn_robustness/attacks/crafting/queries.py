"""Counting, and optionally limiting, the queries an attack makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.models import Model

from qnn_robustness.attacks.crafting.rejection import labelled
from qnn_robustness.common.distances import distance
from qnn_robustness.common.scores import predicted

Stored = Callable[[np.ndarray, np.ndarray], np.ndarray]
Slope = Callable[[np.ndarray, Callable[[np.ndarray], np.ndarray]], tuple[np.ndarray, np.ndarray]]


class BudgetSpent(Exception):
    """The query budget of a block is spent; the counter holds the best samples found."""


class QueryCounter(Model):
    """A Foolbox model that counts queries for each sample of a block.

    A query is one input evaluated for one sample; a gradient costs one (its forward pass). An input of a model
    that answers with a mean over several `runs` of its network costs as many queries.

    With a `query_budget` the best adversarial sample seen for each input is kept. An input that would exceed the budget
    of a sample marks it as `spent`: what is asked for it from then on neither counts nor is remembered, and its result
    is `best`. `BudgetSpent` is raised by the first call after every sample is spent. An input asked twice in a row
    counts once (not of a random network, with several runs): Foolbox asks again for samples that wait for others of
    their batch.

    With `rejection` the last class of the model stands for rejection, and rejected inputs are answered with their label
    (crafting.rejection.labelled); this has no gradient. `told` hears of the queries of all samples after each call.
    `stored` maps points [R, ...] for the samples at the positions [R] to what would be kept of them: the model is
    asked about that, and gradients pass straight.
    """

    def __init__(
        self,
        model: Model,
        samples: np.ndarray,
        labels: np.ndarray,
        norm: str,
        query_budget: int | None = None,
        runs: int = 1,
        rejection: bool = False,
        told: Callable[[np.ndarray], None] | None = None,
        stored: Stored | None = None,
    ):
        self.model, self.samples, self.labels, self.norm = model, samples, labels, norm
        self.query_budget, self.runs, self.rejection = query_budget, runs, rejection
        self.told, self.stored = told, stored
        self.active = np.arange(len(samples))
        self.queries = np.zeros(len(samples), np.int64)
        self.spent = np.zeros(len(samples), bool)
        self.best = samples.copy()
        self.best_distance = np.full(len(samples), np.inf)
        self._before = np.full_like(samples, np.nan)

    @property
    def bounds(self) -> Any:
        return self.model.bounds

    @contextmanager
    def only(self, positions: np.ndarray) -> Iterator[None]:
        """Inside the block, calls are made for these samples (positions among the active ones) alone."""
        before, self.active = self.active, self.active[positions]
        try:
            yield
        finally:
            self.active = before

    def __call__(self, inputs: Any) -> Any:
        """Return the logits [R, K] of inputs [R, H, W, C]; R is a multiple of the active samples."""
        return self._asked(inputs, lambda: (self._answer(inputs),))[0]

    def _answer(self, inputs: Any) -> Any:
        answer = self.model(self._kept(inputs))
        if not self.rejection:
            return answer
        logits, restore_type = ep.astensor_(answer)
        labels = np.tile(self.labels[self.active], len(inputs) // len(self.active))
        return restore_type(ep.from_numpy(logits, labelled(logits.numpy(), labels)))

    def _kept(self, inputs: Any) -> Any:
        """Return the inputs as what would be stored of them."""
        if self.stored is None:
            return inputs
        tensor, restore_type = ep.astensor_(inputs)
        points = tensor.numpy()
        positions = np.tile(self.active, len(points) // len(self.active))
        return restore_type(tensor + ep.from_numpy(tensor, self.stored(points, positions) - points))

    @property
    def slope(self) -> Slope | None:
        """The `slope` of the model (sources.differentiable), if it has one; it counts like a call."""
        slope = getattr(self.model, "slope", None)
        if slope is None:
            return None
        return lambda inputs, weights: self._asked(inputs, lambda: slope(self._kept(inputs), weights))

    def _asked(self, inputs: Any, ask: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return the answer, whose first part are the logits, and count."""
        rounds, rest = divmod(len(inputs), len(self.active))
        if rest:
            raise ValueError(f"{len(inputs)} inputs do not belong to {len(self.active)} samples")
        parts = np.split(ep.astensor(inputs).numpy(), rounds)
        within = [self._count(part) for part in parts]
        if self.spent.all() and not np.any(within):
            raise BudgetSpent
        answer = ask()
        if self.told is not None:
            self.told(self.queries)
        if self.query_budget is not None:
            self._remember(parts, within, ep.astensor(answer[0]).numpy())
        return answer

    def _count(self, part: np.ndarray) -> np.ndarray:
        """Count an input of each active sample, and return whose is within the budget."""
        cost = self._new(part) * self.runs
        if self.query_budget is not None:
            self.spent[self.active] |= self.queries[self.active] + cost > self.query_budget
        within = ~self.spent[self.active]
        self.queries[self.active] += np.where(within, cost, 0)
        return within

    def _new(self, part: np.ndarray) -> np.ndarray:
        """Return which inputs of the active samples cost something."""
        if self.query_budget is None or self.runs > 1:
            return np.ones(len(part), bool)
        new = (part != self._before[self.active]).any(axis=tuple(range(1, part.ndim)))
        self._before[self.active] = part
        return new

    def _remember(self, parts: list[np.ndarray], within: list[np.ndarray], outputs: np.ndarray) -> None:
        low, high = self.bounds  # elastic net looks ahead, past the box
        for part, counts, logits in zip(parts, within, np.split(outputs, len(parts)), strict=True):
            inside = ((part >= low) & (part <= high)).all(axis=tuple(range(1, part.ndim)))
            fooled = np.flatnonzero((predicted(logits) != self.labels[self.active]) & counts & inside)
            if not len(fooled):
                continue
            rows = self.active[fooled]
            far = distance(self.norm, part[fooled], self.samples[rows])
            better = far < self.best_distance[rows]
            rows = rows[better]
            self.best[rows], self.best_distance[rows] = part[fooled[better]], far[better]
