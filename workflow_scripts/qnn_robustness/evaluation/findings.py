"""What a run says about the findings of Costa and Pinto (2024), computed from its tables.

A finding is compared setting by setting (network, attack, budget, precision), for the attacks of each protocol on
their own: which findings survive the sound one? In each setting it is borne out, contradicted or open; the verdict
only counts them. Open is no evidence for equality: it says that the samples do not decide. Attacks within budgets
alone count: where one that minimises the distance ends says how near two boundaries are, not how robust a network is.
F1, on the distance itself, is measured by the diagnostics (`diagnosed`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import product
from typing import NamedTuple

import pandas as pd

from qnn_robustness.common.vote import VOTE
from qnn_robustness.evaluation.reported import counted, reported
from qnn_robustness.evaluation.worst_case import UNBOUNDED

SIGNIFICANCE = 0.05
HALF = 0.5
RATIO = "snr"  # budgets are ratios of signal to noise: the larger, the less noise
CLAIMS = {
    "F2": "Adversarial samples crafted on float32 transfer poorly to the integer networks.",
    "F3": "int8 is more robust than int16 and float32.",
    "F4": "Preprocessors do well against small perturbations and fall short as these grow.",
    "F5": "Training-based defenses raise robustness, and this survives quantization.",
    "F6": "Adversarial samples still transfer between the precisions of hardened networks.",
}
NETWORK = ["model", "training"]
ATTACKED = ["model", "attack"]  # what has one protocol and one lattice
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

    `robust` and `paired` are the tables robust_accuracy and paired_tests, `undefended` the networks (model/training)
    whose training is no defense; each precision counts on its reported kernel set, and their vote, which is none, does
    not. Attacks through a preprocessor count for F4 alone: the other findings are on networks. Attacks without bounds,
    which are there to tell masked gradients, count for none, nor do, in the sound protocol, samples off the 8-bit
    lattice of models that are attacked on it.
    Differences in paired tests count when McNemar's exact test stays significant at 5 % after Holm's correction
    over all settings of the finding; F3 to F5 when the Wilson intervals are apart.
    """
    protocols = robust["protocol"].unique()
    robust = robust.reset_index(drop=True)
    sound = counted(robust).index
    robust, paired = _counted(reported(robust)), _counted(paired)
    hardened = ~(robust["model"] + "/" + robust["training"]).isin(undefended)
    robust = robust.assign(hardened=hardened.astype(bool))
    rows = []
    for protocol in protocols:
        attacked = robust[(robust["protocol"] == protocol) & (robust.index.isin(sound) | (protocol != "sound"))]
        on_network = attacked[attacked["through"] == "none"]
        bare = on_network[on_network["preprocessor"] == "none"]
        known = pd.MultiIndex.from_frame(paired[ATTACKED]).isin(pd.MultiIndex.from_frame(bare[ATTACKED]))
        tests = paired[known & (paired["preprocessor"] == "none")]
        found = [_f2(tests), _f3(bare), _f4(attacked), _f5(bare), _f6(bare)]
        rows += [{"protocol": protocol} | finding._asdict() for finding in found]
    return pd.DataFrame(rows, columns=["protocol", *Finding._fields])


def _counted(table: pd.DataFrame) -> pd.DataFrame:
    networks = table.columns.intersection(["source", "target", "first", "second"])
    unbounded = table["budget"] >= table["norm"].map(UNBOUNDED).fillna(float("inf"))
    return table[~table[networks].eq(VOTE).any(axis=1) & table["budget"].notna() & ~unbounded]


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


def _strongest(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return, for each value of `key`, the row whose accuracy is at most the least: the lowest end of an interval.

    Of an attack that met few samples the interval ends high.
    """
    return rows.sort_values("ci_high", kind="stable").drop_duplicates(key).set_index(key)


def _attacked_itself(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the targets on which samples were crafted: transferred ones alone show no robustness."""
    return rows[rows["target"].isin(rows.loc[rows["source"] == rows["target"], "target"])]


def _f2(paired: pd.DataFrame) -> Finding:
    signs = [-sign for sign in _significant(paired[paired["source"] == "float32"], "float32", ("int16", "int8"))]
    return _finding("F2", "samples crafted on float32: accuracy of int16 and int8 against float32, paired", signs)


def _f3(robust: pd.DataFrame) -> Finding:
    signs = []
    for _, rows in robust.groupby([*NETWORK, "norm", "budget"], sort=False):
        best = _strongest(_attacked_itself(rows), "target")
        if "int8" in best.index:
            signs += [_apart(best.loc["int8"], other) for _, other in best.drop("int8").iterrows()]
    return _finding("F3", "int8 against int16 and float32, each under the attack that does best on it", signs)


def _f4(robust: pd.DataFrame) -> Finding:
    signs = []
    for (*_, norm, _), rows in robust.groupby([*NETWORK, "norm", "target"], sort=False):
        plain = _strongest(rows[(rows["preprocessor"] == "none") & (rows["through"] == "none")], "budget")
        for name, behind in rows[rows["preprocessor"] != "none"].groupby("preprocessor", sort=False):
            behind = behind[behind["through"].isin(["none", name])]
            known = behind.loc[(behind["through"] == name) & (behind["source"] == behind["target"]), "budget"]
            defended = _strongest(behind[behind["budget"].isin(known)], "budget")
            small, large = sorted([defended.index.min(), defended.index.max()], reverse=norm == RATIO)
            if small != large and small in plain.index:
                helps = _apart(defended.loc[small], plain.loc[small])
                falls = _apart(defended.loc[small], defended.loc[large])
                signs.append(-1 if helps < 0 else min(helps, falls))
    measured = (
        "better than no preprocessor at the smallest budget, and worse at the largest than there, each under the "
        "attack that does best, where one on this very network knew the preprocessor"
    )
    return _finding("F4", measured, signs)


def _f5(robust: pd.DataFrame) -> Finding:
    signs = []
    for _, rows in robust.groupby(["model", "norm", "budget", "target"], sort=False):
        attacked = pd.concat([_attacked_itself(one) for _, one in rows.groupby("training", sort=False)])
        best = _strongest(attacked, "training")
        pairs = product(best[best["hardened"]].iterrows(), best[~best["hardened"]].iterrows())
        signs += [_apart(hardened, plain) for (_, hardened), (_, plain) in pairs]
    measured = "hardened networks against undefended, on each precision, each under the attack that does best on it"
    return _finding("F5", measured, signs)


def _f6(robust: pd.DataFrame) -> Finding:
    signs = []
    for _, rows in robust[robust["hardened"]].groupby(POINT, sort=False):
        own = rows.loc[rows["target"] == rows["source"], "success_rate"]
        if len(own) and own.iloc[0] > 0:
            transferred = rows.loc[rows["target"] != rows["source"], "success_rate"].dropna()
            signs += [1 if rate >= HALF * own.iloc[0] else -1 for rate in transferred]
    return _finding("F6", "success rate on another precision at least half of that on the source, as measured", signs)
