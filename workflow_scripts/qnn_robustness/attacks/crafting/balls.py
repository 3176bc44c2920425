"""Balls of the norms Linf and L2 within the box [0, 1]: steps, projections, random points, hyperplanes."""

from __future__ import annotations

import numpy as np

from qnn_robustness.attacks.crafting.network import Network

NORMS = ("linf", "l2")
TINY = 1e-30  # keeps 0 / 0 away; far below the square of any float32 that matters
NEWTON_STEPS = 60


def lengths(norm: str, values: np.ndarray) -> np.ndarray:
    """Return the norm of each row of [N, ...], float32 [N]."""
    flat = values.reshape(len(values), -1)
    return np.abs(flat).max(axis=1) if norm == "linf" else np.sqrt((flat * flat).sum(axis=1))


def dual_lengths(norm: str, values: np.ndarray) -> np.ndarray:
    """Return the dual norm (L1 for Linf, L2 for L2) of each row of [N, ...], float32 [N]."""
    return np.abs(values).reshape(len(values), -1).sum(axis=1) if norm == "linf" else lengths("l2", values)


def steepest(norm: str, gradient: np.ndarray) -> np.ndarray:
    """Return the direction of length one along which the linearised function [N, ...] rises fastest."""
    if norm == "linf":
        return np.sign(gradient)
    largest = np.maximum(column(lengths("linf", gradient), gradient), TINY)
    scaled = gradient / largest  # squares of tiny gradients would vanish in float32
    return scaled / np.maximum(column(lengths("l2", scaled), scaled), TINY)


def project(norm: str, points: np.ndarray, centres: np.ndarray, radius: float) -> np.ndarray:
    """Return the points [N, ...] moved into the ball around `centres` and then into the box.

    For Linf this is the nearest point of the intersection; for L2 the usual approximation, which lies in
    the intersection because the centres lie in the box.
    """
    if norm == "linf":
        low, high = np.maximum(centres - radius, 0), np.minimum(centres + radius, 1)
        return np.clip(points, low, high).astype(np.float32, copy=False)
    offsets = points - centres
    shares = np.minimum(radius / np.maximum(lengths("l2", offsets), TINY), 1)
    return np.clip(centres + column(shares, offsets) * offsets, 0, 1).astype(np.float32, copy=False)


def random_points(norm: str, network: Network, centres: np.ndarray, radius: float | np.ndarray) -> np.ndarray:
    """Return a random point on the sphere of `radius` (a number or [N]) around each centre, in the box."""
    uniform = norm == "linf"
    draws = 2 * network.uniform(centres.shape) - 1 if uniform else network.normal(centres.shape)
    units = draws / np.maximum(column(lengths(norm, draws), draws), TINY)
    radii = column(np.broadcast_to(np.float32(radius), len(centres)), centres)
    return np.clip(centres + radii * units, 0, 1).astype(np.float32, copy=False)


def steps_to_hyperplane(norm: str, points: np.ndarray, normals: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Return the shortest perturbations d [N, D] with <normals, d> = gaps that keep points + d in [0, 1].

    Where the box leaves no such d, the one that comes nearest. The perturbation is, for some t,
    sign * min(t * speed, room) with speed 1 (Linf) or |normal| (L2) and the room up to the box. What it
    gains, <|normal|, min(t * speed, room)>, is concave and piecewise linear in t, so Newton's method from t = 0
    reaches the root from below in a few steps, without the sorting of the published algorithm (Croce and
    Hein, Minimally distorted adversarial examples with a fast adaptive boundary attack, 2020, section 2.3).
    All arrays are float32.
    """
    pull = np.abs(normals)
    signs = np.sign(normals) * np.sign(gaps)[:, None]
    room = np.where(signs > 0, 1 - points, points) * (signs != 0)
    speed = np.ones_like(pull) if norm == "linf" else pull
    wanted, times = np.abs(gaps), np.zeros(len(points), np.float32)
    rows = np.flatnonzero(wanted > 0)
    for _ in range(NEWTON_STEPS):
        if not len(rows):
            break
        reach = times[rows, None] * speed[rows]
        free = reach < room[rows]
        gained = (pull[rows] * np.minimum(reach, room[rows])).sum(axis=1)
        slope = (pull[rows] * speed[rows] * free).sum(axis=1)
        missing = wanted[rows] - gained
        going = (missing > 1e-6 * wanted[rows]) & (slope > 0)
        rows = rows[going]
        times[rows] += missing[going] / slope[going]
    return signs * np.minimum(times[:, None] * speed, room)


def column(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return [N] shaped so that it multiplies the rows of [N, ...]."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
