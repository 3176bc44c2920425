"""Distances as they are written in a configuration."""

from __future__ import annotations

from fractions import Fraction


def parse_distance(value: float | int | str) -> Fraction:
    """Return a distance exactly: `8/255` as a fraction, a number as the decimal it was written as."""
    return Fraction(str(value)) if not isinstance(value, str) else _parse_fraction(value)


def _parse_fraction(text: str) -> Fraction:
    numerator, denominator = text.split("/")
    return Fraction(numerator) / Fraction(denominator)
