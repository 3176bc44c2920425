"""Findings F1 and F2 from tables of the diagnostics of which the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from qnn_robustness.evaluation.diagnosed import diagnosed_findings

NET = {"model": "m", "training": "t"}


def verdicts(
    farther: float = 0.9, p_value: float = 1e-6, zero: float = 0.3, cosine: float = 0.5, gain: float = -3.0
) -> list[str]:
    """Return the verdicts on int8: distance, masking, misalignment, attenuation (whole, rest), amplification (same)."""
    distances = pd.DataFrame(
        [
            {**NET, "first": first, "farther": farther, "nearer": 1 - farther, "sign_test_p": p_value}
            for first in ("float32", "int16")
        ]
    )
    gradients = pd.DataFrame(
        [
            {**NET, "loss": "margin", "estimator": estimator, "zero": share, "zero_low": share, "zero_high": share}
            for estimator, share in (("autodiff", 0.005), ("straight_through", zero))
        ]
    )
    alignment = pd.DataFrame(
        [
            {
                **NET,
                "loss": "margin",
                "first": "float32",
                "second": second,
                "cosine_low": c - 0.1,
                "cosine_high": c + 0.1,
            }
            for second, c in (("one level away", 0.8), ("int8", cosine))
        ]
    )
    shift = pd.DataFrame(
        [
            {
                **NET,
                "size": size / 255,
                "gain_low": low,
                "gain_high": low + 1,
                "gain_network_low": -1,
                "gain_network_high": 1,
            }
            for size, low in ((0.25, gain), (1, -gain), (4, -gain))
        ]
    )
    table = diagnosed_findings(distances, gradients, alignment, shift)
    assert table["finding"].tolist() == ["F1"] * 2 + ["F2"] * 5
    assert table[["borne_out", "contradicted", "open"]].sum(axis=1).tolist() == [1, 1, 1, 1, 1, 2, 2]
    return table["verdict"].tolist()


OPEN = "open: the samples do not decide"


def test_all_is_borne_out_but_what_rounding_of_the_input_explains() -> None:
    assert verdicts() == ["borne out"] * 4 + [OPEN, "borne out", OPEN]


def test_the_opposite_contradicts() -> None:
    found = verdicts(farther=0.1, zero=0.0, cosine=1.1, gain=3.0)
    assert found == ["contradicted"] * 4 + [OPEN, "contradicted", OPEN]


@pytest.mark.parametrize("p_value", [0.051, 1.0])
def test_what_the_samples_do_not_decide_is_open(p_value: float) -> None:
    assert verdicts(p_value=p_value, zero=0.011, cosine=0.75, gain=-0.5)[:4] == [OPEN, "borne out", OPEN, OPEN]


def test_a_perturbation_that_is_gone_is_attenuated() -> None:
    assert verdicts(gain=-np.inf)[3] == "borne out"
