"""From inputs in [0, 1], which every part of the project speaks, to the unit a network was made for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from qnn_robustness.common.errors import UserError


@dataclass(frozen=True)
class InputScaling:
    """Channel c of the network's input is `gain[c] * x[..., c] + offset[c]` for x in [0, 1].

    `gain` (positive) and `offset` have one entry for all channels or one for each. With `reverse` the channels of x are
    reversed first (RGB to BGR). The default changes nothing.
    """

    gain: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    reverse: bool = False

    @property
    def is_identity(self) -> bool:
        return self == InputScaling()

    @property
    def span(self) -> tuple[float, float]:
        """The values of black and of white, over all channels."""
        return min(self.offset), max(np.add(self.gain, self.offset).tolist())

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Map inputs [N, ..., C] in [0, 1] to the network's unit, float32."""
        x = np.asarray(x, np.float32)
        if self.is_identity:
            return x
        x = x[..., ::-1] if self.reverse else x
        return x * np.array(self.gain, np.float32) + np.array(self.offset, np.float32)

    def after(self, slope: float, intercept: float) -> InputScaling:
        """Return this scaling followed by `slope * value + intercept`."""
        gain = tuple(slope * gain for gain in self.gain)
        return InputScaling(gain, tuple(slope * offset + intercept for offset in self.offset), self.reverse)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> InputScaling:
        """Read what `to_json` wrote.

        Raises UserError when it is something else.
        """
        try:
            content = json.loads(text)
            gain, offset = (tuple(float(value) for value in content[key]) for key in ("gain", "offset"))
            valid = bool(gain) and bool(offset) and min(gain) > 0 and bool(np.isfinite([*gain, *offset]).all())
            reverse = content["reverse"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"input scaling: not readable ({error})") from None
        if not valid or not isinstance(reverse, bool):
            raise UserError(f"input scaling: {content} is none")
        return cls(gain, offset, reverse)

    @classmethod
    def declared(cls, declaration: Mapping[str, Any], channels: int) -> InputScaling:
        """Return the scaling that a model's `input` declares: `range`, `mean`, `deviation` and `order`.

        Raises UserError when it contradicts itself or the number of channels.
        """
        low, high = declaration["range"]
        if not low < high:
            raise UserError(f"range: [{low}, {high}] is empty; expected the values of black and of white, black first")
        mean = _each("mean", declaration["mean"] or [0.0], channels)
        deviation = _each("deviation", declaration["deviation"] or [1.0], channels)
        if min(deviation) <= 0:
            raise UserError(f"deviation: {list(deviation)} has an entry that is not positive")
        count = max(len(mean), len(deviation))
        mean, deviation = (values * count if len(values) == 1 else values for values in (mean, deviation))
        reverse = declaration["order"] == "bgr"
        if reverse and channels != 3:
            raise UserError(f"order: bgr is for 3 channels; the data set has {channels}")
        gain = tuple((high - low) / d for d in deviation)
        return cls(gain, tuple((low - m) / d for m, d in zip(mean, deviation, strict=True)), reverse)


def _each(name: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
    if len(values) not in (1, channels):
        raise UserError(f"{name}: has {len(values)} entries; expected 1 or one for each of the {channels} channels")
    return tuple(float(value) for value in values)
