"""From inputs in [0, 1] to the unit of a network."""

from __future__ import annotations

import numpy as np
import pytest

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.scaling import InputScaling

PLAIN = {"range": [0, 1], "mean": None, "deviation": None, "order": "rgb"}


def declared(channels: int = 3, **changes) -> InputScaling:
    return InputScaling.declared({**PLAIN, **changes}, channels)


def test_nothing_declared_changes_nothing() -> None:
    samples = np.random.default_rng(0).random((2, 4, 4, 3), np.float32)
    assert declared().is_identity
    assert declared().apply(samples) is samples


def test_a_range_maps_every_level_to_its_value() -> None:
    levels = (np.arange(256, dtype=np.float32) / np.float32(255)).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(np.rint(declared(1, range=[0, 255]).apply(levels)).ravel(), np.arange(256))
    np.testing.assert_allclose(declared(1, range=[-1, 1]).apply(levels).ravel(), np.linspace(-1, 1, 256), atol=1e-6)
    assert declared(1, range=[-128, 127]).span == (-128, 127)


def test_mean_and_deviation_are_those_of_the_networks_own_channels() -> None:
    pixel = np.array([0.0, 0.5, 1.0], np.float32).reshape(1, 1, 1, 3)
    mean, deviation = [10.0, 20.0, 30.0], [2.0, 4.0, 5.0]
    scaled = declared(range=[0, 100], mean=mean, deviation=deviation, order="bgr").apply(pixel).ravel()
    np.testing.assert_allclose(scaled, [(100 - 10) / 2, (50 - 20) / 4, (0 - 30) / 5])


def test_what_is_written_is_read() -> None:
    scaling = declared(mean=[0.1], deviation=[0.2, 0.3, 0.4], order="bgr")
    assert InputScaling.from_json(scaling.to_json()) == scaling


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"gain": [0], "offset": [0], "reverse": false}', '{"gain": [NaN]}'])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="input scaling"):
        InputScaling.from_json(text)


@pytest.mark.parametrize(
    ("changes", "channels", "message"),
    [
        ({"range": [255, 0]}, 3, r"^range: \[255, 0\] is empty"),
        ({"mean": [0.1, 0.2]}, 3, r"^mean: has 2 entries; expected 1 or .* 3 channels"),
        ({"deviation": [0.0]}, 3, r"^deviation: .* not positive"),
        ({"order": "bgr"}, 1, r"^order: bgr is for 3 channels"),
    ],
)
def test_contradictions_end_in_one_line(changes: dict, channels: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        declared(channels, **changes)
