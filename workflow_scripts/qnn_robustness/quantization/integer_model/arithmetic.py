"""TensorFlow Lite's fixed-point multiplications: exact in int64, and fast in floating point.

An accumulator x is scaled by a real multiplier that is stored as M * 2**(shift - 31) with 2**30 <= M <
2**31. What differs between kernels is only how the product is rounded:

    single      floor(x M 2**(shift-31) + 1/2)                      TFLITE_SINGLE_ROUNDING
    away        floor(x M 2**(l-31) + 1/2), then / 2**r, half away  gemmlowp: doubling high multiplication,
                from zero (l = max(shift, 0), r = max(-shift, 0))   then RoundingDivideByPOT
    up          as `away`, the second rounding half up              ruy's x86 kernels
    reduced     floor(x M' 2**(shift-15) + 1/2), M' = M / 2**16     int64 accumulators of 16x8 kernels
                rounded half up and at most 32767
    double      x times the real multiplier in float64, half away   reference FULLY_CONNECTED
                from zero
    float       x and the multiplier in float32, half to even       XNNPACK's fp32 requantization

The fast forms are only used where they are proved equal to the exact ones from the numbers in the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

_SPLIT = 16  # bits of the low half of a multiplier: both partial products stay below 2**53
_EXACT_FLOAT64 = 2**53
_WINDOW = np.arange(-3, 4)  # accumulators around each step of the output at which fast and exact are compared


def variable(value: np.ndarray, dtype: type = np.float32) -> tf.Variable:
    """A constant that graph optimisers cannot see.

    Grappler folds multiplications into constant weights and reorders constant factors, which changes how
    products round.
    """
    return tf.Variable(np.asarray(value, dtype), trainable=False)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Return (M, shift) for a real multiplier, as TFLite's `QuantizeMultiplier` does."""
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def quantize_multipliers(real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`quantize_multiplier` for each entry; two int64 arrays."""
    pairs = np.array([quantize_multiplier(float(value)) for value in real], np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def scale_exactly(x: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, rounding: str) -> np.ndarray:
    """Scale int64 accumulators below 2**31 (`rounding`: single, away or up); the oracle of fast forms."""
    x, multiplier, shift = np.broadcast_arrays(np.asarray(x, np.int64), multiplier, shift)
    if rounding == "single":
        total = 31 - shift
        return (x * multiplier + (np.int64(1) << (total - 1))) >> total
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    high = ((x << left) * multiplier + (1 << 30)) >> 31
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    nudge = ((high < 0) & (right > 0)) if rounding == "away" else 0
    return (high + half - nudge) >> right


def scale_split(x: tf.Tensor, multiplier: int | np.ndarray, shift: int | np.ndarray, rounding: str) -> tf.Tensor:
    """Scale float64 integers exactly: the multiplier is split in two 16-bit halves.

    |x| 2**max(shift, 0) must be below 2**36, and shifts at most 14. `rounding` is single, away or up.
    """
    multiplier, shift = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    left = shift if rounding == "single" else np.maximum(shift, 0)
    # Powers of two are multiplied into the halves, which is exact and spares passes over the samples.
    high = (multiplier >> _SPLIT) * 2.0 ** np.maximum(left, 0)
    low = (multiplier & (2**_SPLIT - 1)) * 2.0 ** (np.maximum(left, 0) - _SPLIT)
    # floor((x M + 2**(t-1)) / 2**t) with t = 31 (- shift when negative and single), the low half floored
    # first: flooring in two steps equals flooring once.
    total = 31 - np.minimum(left, 0)
    carry = tf.floor(x * low)
    rounded = tf.floor((x * high + (carry + 2.0 ** (total - 1 - _SPLIT))) * 2.0 ** (_SPLIT - total))
    if rounding == "single":
        return rounded
    right = np.maximum(-shift, 0)
    half, divided = np.where(right > 0, 0.5, 0.0), rounded * 2.0**-right
    if rounding == "up":
        return tf.floor(divided + half)
    return tf.sign(divided) * tf.floor(tf.abs(divided) + half)


def half_away(x: tf.Tensor) -> tf.Tensor:
    """Round halves away from zero, exactly, as `std::round` does."""
    whole = tf.floor(tf.abs(x))
    return tf.sign(x) * (whole + tf.cast(tf.abs(x) - whole >= 0.5, x.dtype))


def reduced_multiplier(multiplier: np.ndarray) -> np.ndarray:
    """The 16-bit multiplier of kernels with int64 accumulators."""
    return np.where(multiplier < 0x7FFF0000, (multiplier + (1 << 15)) >> 16, 0x7FFF)


class AffineRounding:
    """x -> round(slope x + offset) in floating point, for TensorFlow tensors and NumPy arrays alike.

    With `widening` d = 0 it rounds half up. With d > 0 the steps lie d nearer to zero on both sides, which
    is what two roundings in a row amount to. The numbers are variables in TensorFlow, see `variable`.
    """

    def __init__(self, slope: np.ndarray, offset: np.ndarray, widening: np.ndarray, dtype: type):
        self.symmetric = bool(np.any(widening))
        half = np.asarray(0.5 + np.asarray(widening), dtype)
        offset = np.asarray(offset if self.symmetric else offset + half, dtype)
        self.arrays = (np.asarray(slope, dtype), offset, half)
        self.variables = tuple(variable(array, dtype) for array in self.arrays)

    def __call__(self, x: tf.Tensor | np.ndarray) -> tf.Tensor | np.ndarray:
        library, (slope, offset, half) = (tf, self.variables) if tf.is_tensor(x) else (np, self.arrays)
        value = x * slope + offset
        if self.symmetric:
            return library.sign(value) * library.floor(library.abs(value) + half)
        return library.floor(value)


def fast_double_rounding(
    multiplier: np.ndarray, shift: np.ndarray, bias: np.ndarray, rounding: str, non_negative: bool
) -> Callable:
    """Return a float64 candidate for `scale_exactly(x + bias, ...)`; `non_negative`: clipped at 0.

    The first rounding moves the steps of the second by half a unit of the first: by d = 2**-(r+1).
    """
    slope = multiplier * 2.0 ** (shift - 31)
    right = np.maximum(-shift, 0)
    widening = np.where((right > 0) & (rounding != "single"), 2.0 ** -(right + 1), 0.0)
    # Half of the finest fraction of a product: no product lies on a step, so that the side of a tie is
    # settled.
    widening = widening + np.where(widening > 0, 2.0 ** (np.minimum(shift, 0) - 33), 0.0)
    offset = bias * slope
    if rounding != "away" or non_negative:
        return AffineRounding(slope, offset + widening, 0, np.float64)
    return AffineRounding(slope, offset, widening, np.float64)


def proved_equal(
    fast: Callable[[np.ndarray], np.ndarray],
    exact: Callable[[np.ndarray], np.ndarray],
    slope: np.ndarray,
    bias: np.ndarray,
    bound: np.ndarray,
    low: int,
    high: int,
) -> bool:
    """Whether `fast` equals `exact`, clipped to [low, high], for every integer |x| <= bound of a channel.

    Both are non-decreasing step functions. They agree everywhere if they agree on both sides of each step;
    a few accumulators around each are compared, and both ends of the range.
    """
    levels = np.arange(low + 1, high + 1)[:, None]
    centers = np.ceil(np.clip((levels - 0.5) / slope - bias, -bound - 4, bound + 4))
    points = np.clip(centers[None] + _WINDOW[:, None, None], -bound, bound)
    ends = np.stack([-bound, bound])[None] + np.zeros((1, 2, len(bound)))

    def both(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.clip(fast(x), low, high), np.clip(exact(x.astype(np.int64)), low, high)

    (fast_steps, exact_steps), (fast_ends, exact_ends) = both(points), both(ends)
    first, last = exact_steps[0], exact_steps[-1]
    # A window must contain the step itself unless the range of accumulators ends before it.
    bracketed = ((first < levels) | (points[0] <= -bound)) & ((last >= levels) | (points[-1] >= bound))
    return bool(np.array_equal(fast_steps, exact_steps) and np.array_equal(fast_ends, exact_ends) and bracketed.all())


def fixed_point(
    multiplier: np.ndarray,
    shift: np.ndarray,
    bias: np.ndarray,
    bound: np.ndarray,
    rounding: str,
    low: int,
    high: int,
    prove: bool = True,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return whole |x| <= bound -> x + bias scaled (`rounding`: away or up), to be clipped to [low, high].

    One value for each channel. It is the fast form where that is proved equal, if it is to be proved.
    """

    def exact(x: np.ndarray) -> np.ndarray:
        return scale_exactly(x + bias, multiplier, shift, rounding)

    if prove and multiplier.all():
        fast = fast_double_rounding(multiplier, shift, bias, rounding, low >= 0)
        if proved_equal(fast, exact, multiplier * 2.0 ** (shift - 31), bias, bound, low, high):
            return lambda x: fast(tf.cast(x, tf.float64))
    offset = variable(bias, np.float64)
    return lambda x: scale_split(tf.cast(x, tf.float64) + offset, multiplier, shift, rounding)


def scaled_codes(
    multiplier: int, shift: int, bits: int, rounding: str, limits: tuple[int, int]
) -> tuple[Callable[[tf.Tensor], tf.Tensor], int]:
    """Return codes -> codes * 2**bits scaled (`rounding`: single or away), and the largest magnitude of a result.

    A fast form counts if it gives what `scale_exactly` does for every code within the limits.
    """
    codes = np.arange(limits[0], limits[1] + 1)
    expected = scale_exactly(codes << bits, np.int64(multiplier), np.int64(shift), rounding)
    largest, unit = int(np.abs(expected).max()), 2.0**bits
    slope = variable(multiplier * 2.0 ** (shift + bits - 31), np.float64)
    if np.array_equal(codes * slope.numpy(), expected):
        return lambda x: tf.cast(x, tf.float64) * slope, largest
    rounded = fast_double_rounding(np.int64(multiplier), np.int64(shift), np.int64(0), rounding, False)
    if np.array_equal(rounded(codes * unit), expected):
        return lambda x: rounded(tf.cast(x * unit, tf.float64)), largest
    return lambda x: scale_split(tf.cast(x * unit, tf.float64), multiplier, shift, rounding), largest
