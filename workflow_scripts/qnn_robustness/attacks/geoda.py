"""GeoDA (Rahmati et al. 2020, algorithm 1): the boundary's normal from labels alone, in a DCT subspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import eagerpy as ep
import numpy as np
from foolbox import distances
from foolbox.attacks.base import Attack, MinimizationAttack
from foolbox.models import Model

from qnn_robustness.attacks.crafting import balls
from qnn_robustness.attacks.crafting.array_attack import ArrayAttack
from qnn_robustness.attacks.crafting.array_model import rounds_at_once
from qnn_robustness.attacks.crafting.blended_noise import BlendedNoise
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.network import Network, check_images
from qnn_robustness.attacks.crafting.unit_box import in_unit_box
from qnn_robustness.common.distances import distance

ACCESS = "decision"
NORMS = {"l1": distances.l1, "l2": distances.l2, "linf": distances.linf}
BUDGETED = False
TINY = 1e-30
FIRST_ESTIMATE = 50  # least queries of the first of the estimates into which the budget is divided
SEARCH_QUERIES = 25  # queries set aside, for each estimate, to find the boundary on the ray

Ray = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (rows, distances from the sample) -> points


@dataclass
class _Search:
    """The search for N samples; every array has them as its first axis."""

    network: Network
    goal: Goal
    norm: str
    clean: np.ndarray  # [N, H, W, C]
    nearest: np.ndarray  # the nearest adversarial point so far
    lengths: np.ndarray  # its distance, [N]
    left: np.ndarray  # queries left, [N]
    normal: np.ndarray  # sum of the probes that were adversarial, minus those that were not

    def ask(self, rows: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return whether `points` of the samples `rows` are adversarial; keep those that are nearer."""
        with self.network.only(rows):
            adversarial = self.goal.only(rows).reached(self.network.logits(points))
        self.left[rows] -= 1
        lengths = distance(self.norm, points, self.clean[rows])
        better = adversarial & (lengths < self.lengths[rows])
        self.nearest[rows[better]], self.lengths[rows[better]] = points[better], lengths[better]
        return adversarial

    def bisect(self, rows: np.ndarray, ray: Ray, ends: np.ndarray, tolerance: float) -> None:
        """Find the boundary between the samples and the adversarial ends of their rays, up to a tolerance."""
        low, high = np.zeros_like(ends), ends
        while True:
            going_on = (high - low > tolerance) & (self.left[rows] > 0)
            rows, low, high = rows[going_on], low[going_on], high[going_on]
            if not len(rows):
                return
            middle = (low + high) / 2
            adversarial = self.ask(rows, ray(rows, middle))
            low, high = np.where(adversarial, low, middle), np.where(adversarial, middle, high)


@dataclass(kw_only=True, repr=False, eq=False)
class GeoDA(ArrayAttack):
    """Estimates the normal at a boundary point from the labels of probes, and moves to the boundary along it.

    Probes are Gaussian in the span of the `subspace` lowest frequencies of each image axis (DCT, channel by
    channel; more than an axis has is all of them), with root mean square `sigma` for an input value: the
    paper's 2e-4 is far below one level of an 8-bit input, where an integer network cannot feel them. An
    estimate (equation 6, with the mean decision as baseline) is added to the earlier ones. The norm gives the
    ray from the sample (section 3.1): the normal itself for L2, its signs for Linf, and for L1 its largest
    values one after the other, each up to the end of its range. The boundary on the ray becomes the next
    boundary point where it is nearer; otherwise the next estimate is made at the old one.

    `queries` is what a sample may spend, without its starting point. They grow from estimate to estimate by
    the factor `query_ratio` ** (-2 / 3) (theorem 2, lambda). Searches along a ray stop when the boundary is
    known up to `tolerance`, a distance in the attack's norm.
    """

    looks_first = True

    norm: str
    queries: int
    query_ratio: float
    sigma: float
    tolerance: float
    subspace: int
    init_attack: MinimizationAttack

    @property
    def distance(self) -> distances.Distance:
        return NORMS[self.norm]

    @in_unit_box
    def run(self, model: Model, inputs: Any, criterion: Any, *, starting_points: Any = None, **arguments: Any) -> Any:
        """Return the nearest adversarial inputs found; `starting_points` have to be adversarial."""
        if starting_points is None:
            starting_points = self.init_attack.run(model, inputs, criterion)
        start = ep.astensor(starting_points).numpy()
        return super().run(model, inputs, criterion, start=start, **arguments)

    def search(self, network: Network, clean: np.ndarray, goal: Goal, *, start: np.ndarray) -> np.ndarray:
        """Return the nearest adversarial inputs found from `start`, adversarial points [N, H, W, C]."""
        check_images(clean)
        search = _Search(
            network,
            goal,
            self.norm,
            clean,
            nearest=start.copy(),
            lengths=distance(self.norm, start, clean),
            left=np.full(len(clean), self.queries),
            normal=np.zeros(clean.shape),
        )
        straight = _straight(clean, (start - clean) / balls.column(np.maximum(search.lengths, TINY), clean))
        search.bisect(np.arange(len(clean)), straight, search.lengths.copy(), self.tolerance)
        for probes in query_schedule(self.queries, self.query_ratio):
            rows = np.flatnonzero(search.left > probes)
            if len(rows):
                self._estimate(search, rows, probes)
                self._follow(search, rows)
        return search.nearest

    def _estimate(self, search: _Search, rows: np.ndarray, probes: int) -> None:
        """Add the estimate from `probes` queries of each of the samples `rows` to their normals."""
        shape = (len(rows), *search.clean.shape[1:])
        points, goal = search.nearest[rows], search.goal.only(rows)
        weighted, plain, balance = np.zeros(shape), np.zeros(shape), np.zeros(len(rows))
        with search.network.only(rows):
            for noise in self._noise(search.network.like, shape, probes):
                perturbed = np.clip(points + noise, 0.0, 1.0)
                logits = search.network.logits(perturbed.reshape(-1, *shape[1:]))
                signs = np.where(goal.repeated(len(noise)).reached(logits), 1.0, -1.0)
                for sign, probe in zip(signs.reshape(len(noise), -1), noise, strict=True):
                    weighted += balls.column(sign, probe) * probe
                    plain += probe
                    balance += sign
        search.left[rows] -= probes
        baseline = np.where(np.abs(balance) == probes, 0.0, balance / probes)
        search.normal[rows] += weighted - balls.column(baseline, plain) * plain

    def _noise(self, like: ep.Tensor, shape: tuple[int, ...], probes: int) -> Iterator[np.ndarray]:
        """Yield `probes` random perturbations for each sample in blocks [R, N, H, W, C].

        Random numbers are drawn in whole samples; one draw serves as many probes as it has coefficients for.
        """
        samples, height, width, channels = shape
        rows, columns = min(self.subspace, height), min(self.subspace, width)
        size, coefficients = height * width * channels, rows * columns * channels
        share = size // coefficients
        scale = self.sigma * np.sqrt(size / coefficients)
        draws_left = -(-probes // share)
        while draws_left:
            draws = min(draws_left, rounds_at_once((samples * share, *shape[1:])))
            draws_left -= draws
            numbers = ep.normal(like, (draws, *shape)).numpy().reshape(draws, samples, -1)
            numbers = numbers[:, :, : share * coefficients].reshape(draws, samples, share, rows, columns, channels)
            numbers = numbers.swapaxes(1, 2).reshape(draws * share, samples, rows, columns, channels)[:probes]
            probes -= len(numbers)
            yield (scale * _from_frequencies(numbers, height, width)).astype(np.float32)

    def _follow(self, search: _Search, rows: np.ndarray) -> None:
        """Look for the boundary on the rays of the samples `rows`, up to their nearest point's distance."""
        ray = self._ray(search)
        rows = rows[search.left[rows] > 0]
        ends = search.lengths[rows]
        adversarial = search.ask(rows, ray(rows, ends)) if len(rows) else np.zeros(0, bool)
        search.bisect(rows[adversarial], ray, ends[adversarial], self.tolerance)

    def _ray(self, search: _Search) -> Ray:
        if self.norm == "l1":
            return _greedy(search.clean, search.normal)
        if self.norm == "linf":
            return _straight(search.clean, np.sign(search.normal))
        lengths = np.sqrt((search.normal**2).reshape(len(search.normal), -1).sum(axis=1))
        return _straight(search.clean, search.normal / balls.column(np.maximum(lengths, TINY), search.normal))


def query_schedule(queries: int, ratio: float) -> list[int]:
    """Return the queries of each normal estimate: in proportion to ratio ** (-2 t / 3), t = 0, 1, ...

    There are as many estimates as leave FIRST_ESTIMATE queries to the first one, after SEARCH_QUERIES for
    each have been set aside; one at least.
    """
    best = [max(1, queries - SEARCH_QUERIES)]
    for estimates in range(2, queries // (FIRST_ESTIMATE + SEARCH_QUERIES) + 1):
        shares = ratio ** (-2 / 3 * np.arange(estimates))
        counts = np.floor((queries - SEARCH_QUERIES * estimates) * shares / shares.sum()).astype(int)
        if counts[0] < FIRST_ESTIMATE:
            break
        best = counts.tolist()
    return best


def cosines(size: int, frequencies: int) -> np.ndarray:
    """Return the orthonormal DCT-II basis: column f [size] is the cosine of frequency f."""
    places = (2 * np.arange(size)[:, None] + 1) * np.arange(frequencies)[None] * np.pi / (2 * size)
    return np.cos(places) * np.where(np.arange(frequencies) == 0, np.sqrt(1 / size), np.sqrt(2 / size))


def _from_frequencies(coefficients: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the images [..., H, W, C] of DCT coefficients [..., h, w, C]."""
    *outer, rows, columns, channels = coefficients.shape
    if (rows, columns) == (height, width):  # all of them: normal numbers are as normal in any basis
        return coefficients
    lines = cosines(height, rows) @ coefficients.reshape(*outer, rows, columns * channels)
    return cosines(width, columns) @ lines.reshape(*outer, height, columns, channels)


def _straight(clean: np.ndarray, directions: np.ndarray) -> Ray:
    """Return the ray along `directions`, clipped to the box."""

    def points(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        moved = clean[rows] + balls.column(lengths, clean) * directions[rows]
        return np.clip(moved, 0.0, 1.0).astype(np.float32)

    return points


def _greedy(clean: np.ndarray, normal: np.ndarray) -> Ray:
    """Return the path that spends its L1 length on the largest values of `normal` first, within the box."""
    flat = normal.reshape(len(normal), -1)
    base = clean.reshape(len(clean), -1).astype(np.float64)
    room = np.where(flat > 0, 1.0 - base, np.where(flat < 0, base, 0.0))
    order = np.argsort(-np.abs(flat), axis=1, kind="stable")
    sorted_room = np.take_along_axis(room, order, axis=1)
    before = np.empty_like(room)
    np.put_along_axis(before, order, np.cumsum(sorted_room, axis=1) - sorted_room, axis=1)

    def points(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        spent = np.clip(lengths[:, None] - before[rows], 0.0, room[rows])
        moved = base[rows] + np.sign(flat[rows]) * spent
        return np.clip(moved, 0.0, 1.0).astype(np.float32).reshape(len(rows), *clean.shape[1:])

    return points


def build(norm: str, *, initial_draws: int, **parameters: Any) -> Attack:
    """Return the attack; it starts from a random image blended with the sample."""
    init_attack = BlendedNoise(initial_draws)
    return GeoDA(norm=norm, init_attack=init_attack, **parameters)
