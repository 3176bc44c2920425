"""What the diagnostics say about findings F1 and F2 of Costa and Pinto (2024), setting by setting as in `findings`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from qnn_robustness.evaluation.findings import SIGNIFICANCE, Finding, holm, verdict

NETWORK = ["model", "training"]
LEVEL = 1 / 255
FEW = 0.01  # a share of zero gradients below which nothing is masked
NOTICEABLE = 0.5  # dB; 6 % of the length of a perturbation
CONTROL = "one level away"


def diagnosed_findings(
    boundary_distance_tests: pd.DataFrame,
    gradient_shares: pd.DataFrame,
    gradient_alignment: pd.DataFrame,
    quantization_shift_shares: pd.DataFrame,
) -> pd.DataFrame:
    """Return one row for each part of F1 and F2 that the diagnostics measure.

    The arguments are the tables of these names. A setting is a network, an integer precision, and a norm or
    perturbation.
    """
    below = quantization_shift_shares["size"] < LEVEL * 0.999
    small, large = quantization_shift_shares[below], quantization_shift_shares[~below]
    return pd.DataFrame(
        [
            _finding(
                "F1",
                "Quantization raises the distance of samples to the decision boundary.",
                "paired distances, integer against float32: exact sign test at 5 % after Holm",
                _farther(boundary_distance_tests),
            ),
            _finding(
                "F1",
                "Quantization masks gradients: some vanish.",
                "straight-through gradients of the margin that are zero: more than in float32 (against: below 1 %)",
                _masked(gradient_shares),
            ),
            _finding(
                "F2",
                "Quantization misaligns gradients.",
                "median cosine with float32 below that of float32 with itself one 8-bit level away: intervals apart",
                _misaligned(gradient_alignment),
            ),
            *_attenuates("attenuates small", "below one 8-bit level", small, -1),
            *_attenuates("amplifies larger", "of one 8-bit level or more", large, 1),
        ]
    )


def _finding(name: str, claim: str, measured: str, signs: Iterable[int]) -> Finding:
    signs = list(signs)
    counts = (signs.count(1), signs.count(-1), signs.count(0))
    return Finding(name, claim, measured, *counts, verdict(*counts))


def _farther(tests: pd.DataFrame) -> list[int]:
    rows = tests[tests["first"] == "float32"]
    decided = holm(rows["sign_test_p"]) < SIGNIFICANCE
    signs = np.sign(rows["farther"] - rows["nearer"]).astype(int)
    return [sign if known else 0 for sign, known in zip(signs, decided, strict=True)]


def _masked(gradients: pd.DataFrame) -> list[int]:
    rows = gradients[gradients["loss"] == "margin"]
    reference = rows[rows["estimator"] == "autodiff"].set_index(NETWORK)["zero_high"]
    signs = []
    for row in rows[rows["estimator"] == "straight_through"].to_dict("records"):
        above = row["zero_low"] > reference[row["model"], row["training"]]
        signs.append(1 if above and row["zero"] >= FEW else -1 if row["zero_high"] < FEW else 0)
    return signs


def _misaligned(alignment: pd.DataFrame) -> list[int]:
    rows = alignment[(alignment["loss"] == "margin") & (alignment["first"] == "float32")]
    control = rows[rows["second"] == CONTROL].set_index(NETWORK)
    signs = []
    for row in rows[rows["second"].isin(["int16", "int8"])].to_dict("records"):
        beside = control.loc[(row["model"], row["training"])]
        below, above = row["cosine_high"] < beside["cosine_low"], row["cosine_low"] > beside["cosine_high"]
        signs.append(int(below) - int(above))
    return signs


def _attenuates(what: str, sizes: str, shift: pd.DataFrame, wanted: int) -> Iterable[Finding]:
    """Yield the claim on the whole gain, and on what rounding of the input does not explain."""
    for column, aside in (("gain", ""), ("gain_network", ", rounding of the input aside")):
        ends = np.sort(wanted * shift[[f"{column}_low", f"{column}_high"]].to_numpy(float), axis=1)
        signs = [int(low > NOTICEABLE) - int(high < NOTICEABLE) for low, high in ends]
        effect = f"perturbations {sizes}, effect at the logits{aside}"
        measured = f"{effect}: median changed by {NOTICEABLE} dB or more, or surely by less"
        yield _finding("F2", f"Quantization {what} perturbations{aside}.", measured, signs)
