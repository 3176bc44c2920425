"""What a run says about the findings of Costa and Pinto (2024), computed from its tables.

A finding is compared setting by setting (network, attack, budget, precision), for the attacks of each protocol on
their own: which findings survive the sound one? In each setting it is borne out, contradicted or open; the verdict
only counts them. Open is no evidence for equality: it says that the samples do not decide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import product
from typing import NamedTuple

import pandas as pd

from qnn_robustness.common.vote import VOTE
from qnn_robustness.evaluation.reported import reported
from qnn_robustness.evaluation.worst_case import UNBOUNDED

SIGNIFICANCE = 0.05
HALF = 0.5
RATIO = "snr"  # budgets are ratios of signal to noise: the larger, the less noise
CLAIMS = {
    "F1": "Quantization raises the distance of samples to the decision boundary.",
    "F2": "Adversarial samples crafted on float32 transfer poorly to the integer networks.",
    "F3": "int8 is more robust than int16 and float32.",
    "F4": "Preprocessors do well against small perturbations and fall short as these grow.",
    "F5": "Training-based defenses raise robustness, and this survives quantization.",
    "F6": "Adversarial samples still transfer between the precisions of hardened networks.",
}
NETWORK = ["model", "training"]
POINT = [*NETWORK, "source", "attack", "norm", "budget", "seed"]


class Finding(NamedTuple):
    """One finding: its claim, how it was measured here, in how many settings which way, and the verdict."""

    finding: str
    claim: str
    measured: str
    borne_out: int
    contradicted: int
    open: int
    verdict: str


def findings(robust: pd.DataFrame, paired: pd.DataFrame, undefended: Collection[str]) -> pd.DataFrame:
    """Return one row for each finding and protocol: `protocol`, and the fields of Finding.

    `robust` and `paired` are the tables robust_accuracy and paired_tests, `undefended` the trainings that are no
    defense; each precision counts on its reported kernel set, and their vote, which is none, does not. Attacks through
    a preprocessor count for F4 alone: the other findings are on networks. Attacks without bounds, which are there to
    tell masked gradients, count for none.
    Differences in paired tests count when McNemar's exact test stays significant at 5 % after Holm's correction
    over all settings of the finding; others when the Wilson intervals are apart.
    """
    robust, paired = _counted(reported(robust)), _counted(paired)
    rows = []
    for protocol, attacked in robust.groupby("protocol", sort=False):
        on_network = attacked[attacked["through"] == "none"]
        tests = paired[paired["attack"].isin(on_network["attack"])]
        found = [
            _f1(on_network),
            _f2(tests),
            _f3(tests),
            _f4(attacked),
            _f5(on_network, undefended),
            _f6(on_network, undefended),
        ]
        rows += [{"protocol": protocol} | finding._asdict() for finding in found]
    return pd.DataFrame(rows)


def _counted(table: pd.DataFrame) -> pd.DataFrame:
    networks = table.columns.intersection(["source", "target", "first", "second"])
    unbounded = table["budget"] >= table["norm"].map(UNBOUNDED).fillna(float("inf"))
    return table[~table[networks].eq(VOTE).any(axis=1) & ~unbounded]


def verdict(borne_out: int, contradicted: int, undecided: int) -> str:
    """Say in words what the counts of settings amount to."""
    settings = borne_out + contradicted + undecided
    if settings == 0:
        return "not measured"
    if borne_out == settings:
        return "borne out"
    if contradicted == settings:
        return "contradicted"
    if borne_out and contradicted:
        return "mixed"
    if borne_out:
        return "borne out in part"
    if contradicted:
        return "contradicted in part"
    return "open: the samples do not decide"


def holm(p_values: pd.Series) -> pd.Series:
    """Return p-values corrected for their number (Holm 1979), in the same order."""
    ordered = p_values.sort_values()
    factors = pd.Series(range(len(ordered), 0, -1), index=ordered.index, dtype=float)
    return (ordered * factors).cummax().clip(upper=1).reindex(p_values.index)


def _finding(name: str, measured: str, signs: Iterable[float]) -> Finding:
    """Count settings: +1 bears the finding out, -1 contradicts it, 0 is open."""
    signs = list(signs)
    counts = (signs.count(1), signs.count(-1), signs.count(0))
    return Finding(name, CLAIMS[name], measured, *counts, verdict(*counts))


def _significant(paired: pd.DataFrame, precision: str, others: Iterable[str]) -> list[int]:
    """Return, for each paired test of `precision` with one of `others`, the sign of its advantage."""
    rows = paired[
        ((paired["first"] == precision) & paired["second"].isin(others))
        | ((paired["second"] == precision) & paired["first"].isin(others))
    ]
    advantage = rows["difference"].where(rows["first"] == precision, -rows["difference"])
    decided = holm(rows["p_value"]) < SIGNIFICANCE
    return [_sign(value) if known else 0 for value, known in zip(advantage, decided, strict=True)]


def _apart(first: pd.Series, second: pd.Series) -> int:
    """Return +1 when the interval of `first` is above that of `second`, -1 when below, 0 otherwise."""
    if first["ci_low"] > second["ci_high"]:
        return 1
    return -1 if first["ci_high"] < second["ci_low"] else 0


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _f1(robust: pd.DataFrame) -> Finding:
    own = robust[(robust["source"] == robust["target"]) & robust["budget"].isna()]
    own = own[own["preprocessor"] == "none"].dropna(subset="median_distortion")
    signs = []
    for _, rows in own.groupby([*NETWORK, "attack", "seed"], sort=False):
        by_target = rows.set_index("target")
        if "float32" in by_target.index:
            integer, reference = by_target.drop("float32"), by_target.loc["float32"]
            signs += [_quartiles_apart(row, reference) for _, row in integer.iterrows()]
    measured = "smallest perturbations by one attack, on float32 and on an integer network itself: quartiles apart"
    return _finding("F1", measured, signs)


def _quartiles_apart(first: pd.Series, second: pd.Series) -> int:
    if first["q1_distortion"] > second["q3_distortion"]:
        return 1
    return -1 if first["q3_distortion"] < second["q1_distortion"] else 0


def _f2(paired: pd.DataFrame) -> Finding:
    crafted = paired[(paired["source"] == "float32") & (paired["preprocessor"] == "none")]
    signs = [-sign for sign in _significant(crafted, "float32", ("int16", "int8"))]
    return _finding("F2", "samples crafted on float32: accuracy of int16 and int8 against float32, paired", signs)


def _f3(paired: pd.DataFrame) -> Finding:
    # An attack does best on its own source, so a fair comparison is on samples crafted on neither of the two.
    neutral = (paired["source"] != paired["first"]) & (paired["source"] != paired["second"])
    signs = _significant(paired[neutral & (paired["preprocessor"] == "none")], "int8", ("int16", "float32"))
    return _finding("F3", "int8 against int16 or float32 on samples crafted on neither of the two, paired", signs)


def _f4(robust: pd.DataFrame) -> Finding:
    budgeted = robust[robust["budget"].notna()]
    signs = []
    for (*_, norm, _), rows in budgeted.groupby([*NETWORK, "source", "norm", "target"], sort=False):
        plain = _strongest(rows[(rows["preprocessor"] == "none") & (rows["through"] == "none")])
        for name, defended in rows[rows["preprocessor"] != "none"].groupby("preprocessor", sort=False):
            defended = _strongest(defended[defended["through"].isin(["none", name])])
            small, large = sorted([defended.index.min(), defended.index.max()], reverse=norm == RATIO)
            if small != large and small in plain.index:
                helps = _apart(defended.loc[small], plain.loc[small])
                falls = _apart(defended.loc[small], defended.loc[large])
                signs.append(-1 if helps < 0 else min(helps, falls))
    measured = (
        "better than no preprocessor at the smallest budget, and worse at the largest than there, each under the "
        "attack that does best, those that know the preprocessor among them"
    )
    return _finding("F4", measured, signs)


def _strongest(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, by budget, the row of the attack and seed that leave the lowest accuracy."""
    return rows.sort_values("accuracy").drop_duplicates("budget").set_index("budget")


def _f5(robust: pd.DataFrame, undefended: Collection[str]) -> Finding:
    budgeted = robust[robust["budget"].notna() & (robust["preprocessor"] == "none")]
    signs = []
    for _, rows in budgeted.groupby(["model", "source", "attack", "budget", "seed", "target"], sort=False):
        plain = rows["training"].isin(undefended)
        pairs = product((row for _, row in rows[~plain].iterrows()), (row for _, row in rows[plain].iterrows()))
        signs += [_apart(hardened, standard) for hardened, standard in pairs]
    return _finding("F5", "robust accuracy of hardened networks against undefended, on every precision", signs)


def _f6(robust: pd.DataFrame, undefended: Collection[str]) -> Finding:
    hardened = robust[~robust["training"].isin(undefended) & (robust["preprocessor"] == "none")]
    signs = []
    for _, rows in hardened.groupby(POINT, dropna=False, sort=False):
        own = rows.loc[rows["target"] == rows["source"], "success_rate"]
        if len(own) and own.iloc[0] > 0:
            transferred = rows.loc[rows["target"] != rows["source"], "success_rate"].dropna()
            signs += [1 if rate >= HALF * own.iloc[0] else -1 for rate in transferred]
    return _finding("F6", "success rate on another precision at least half of that on the source", signs)
