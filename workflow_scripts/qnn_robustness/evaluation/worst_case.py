"""From records to what survives all attacks together, and what that is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm as normal

from qnn_robustness.common.vote import VOTE
from qnn_robustness.evaluation.reported import counted
from qnn_robustness.evaluation.statistics import PAIR, compared_pair, paired_difference, wilson

NETWORK = ["model", "training", "preprocessor", "target", "kernels"]
POINT = [*NETWORK, "norm", "budget", "levels"]
RATE = ["attacks", "samples", "accuracy", "ci_low", "ci_high"]
RATE += [f"{name}_every_attack" for name in RATE[1:]]
WORST_CASE = [*POINT, *RATE]
DEFENSES = [*POINT, "part", *RATE, "masked", "reason"]
STATIC, TRANSFER, ADAPTIVE, WORST = "static", "transfer", "adaptive", "worst"
PARTS = (STATIC, TRANSFER, ADAPTIVE)
COMPARED = ("target", "training", "preprocessor")
PAIRED = ["compared", *NETWORK[:-1], "norm", "budget", "levels", "counted", *PAIR]
ALL, EVERY_ATTACK = "all", "every_attack"
UNBOUNDED = {"linf": 1.0}  # the budget within which every image lies
TOLERANCE = 1e-6
CONFIDENCE = 0.95


def part(records: pd.DataFrame) -> np.ndarray:
    """Return which part of the attacks each record belongs to.

    `adaptive`: crafted on the very network that is evaluated, with its preprocessor in front (for a network without
    one these are the attacks on itself). `static`: crafted on the same precision without that preprocessor.
    `transfer`: crafted on another precision. Static for a vote are samples crafted on one of the networks that vote.
    """
    vote = (records["target"] == VOTE) & (records["source"] != VOTE)
    same = (records["source"] == records["target"]) | vote
    knowing = records["through"] == records["preprocessor"]
    return np.select([same & knowing & ~vote, same], [ADAPTIVE, STATIC], TRANSFER)


def survivors(records: pd.DataFrame, norm: str, budget: float) -> pd.Series:
    """Return, by sample, whether it is right when clean and survives every attack within `budget`.

    `records` are of one target (with kernels and preprocessor). An adversarial sample counts when its
    distance in `norm` is at most `budget`, whatever attack made it.
    """
    fooled = ~records["adversarial_correct"] & (records[norm] <= budget + TOLERANCE)
    robust = records["target_correct"] & ~fooled
    return robust.groupby(records["sample"]).all()


def worst_case(records: pd.DataFrame, norm: str = "linf") -> pd.DataFrame:
    """Return the robust accuracy against all attacks together at every budget given in `norm`.

    A sample is robust when it survives every attack, source and seed that was run on it within the budget. Counted
    are the samples which each part of the attacks met (see `part`): one that only the static attacks met says
    nothing about the others. Costly attacks meet fewer samples than cheap ones; the others count as having survived
    them. Columns ending in `_every_attack` count those alone that every attack on distances of this norm met: fewer
    samples, and no such benefit of the doubt. Attacks through another defense decide none of these numbers, but what
    they find counts. Only attacks of the sound protocol count, and of models of images only those on the uint8
    lattice. Budgets that bound nothing are left out.
    """
    rows = [
        {**point, **_rate(_chosen(group, samples), norm, point["budget"])}
        for point, group, samples in _points(counted(records), norm)
    ]
    return pd.DataFrame(rows, columns=WORST_CASE)


def defenses(records: pd.DataFrame, norm: str = "linf") -> pd.DataFrame:
    """Return the worst case and, on the same samples, the accuracy under each part of the attacks alone.

    Columns are those of `worst_case`, `part` (static, transfer, adaptive, worst), `masked` and `reason`. A network is
    masked (flags as those of RobustBench) when, at this budget, an attack that does not use its gradients leaves
    fewer samples than the white-box attacks on itself, beyond the paired 95 % interval (Bonferroni's for the number
    of such attacks), or when a white-box attack without bounds leaves any; then its robustness is not to be believed.
    It is empty where neither could be checked: other budgets and norms are not what white-box attacks looked for, and
    other kernels than those that they asked round otherwise, which is no failure of their gradients. One attack has
    to do it: many together always find a few samples more. AutoAttack counts as white-box with all its parts, so that
    what its last one, Square, finds without gradients is no sign here: run Square beside it.
    """
    rows = []
    for point, group, samples in _points(counted(records), norm):
        chosen = _chosen(group, samples)
        masked = _masked(chosen, group, norm, point["budget"])
        for name in (*PARTS, WORST):
            rows_of_part = chosen if name == WORST else chosen[part(chosen) == name]
            if len(_at(rows_of_part, norm, point["budget"])):
                rows.append({**point, "part": name, **_rate(rows_of_part, norm, point["budget"]), **masked})
    return pd.DataFrame(rows, columns=DEFENSES)


def paired_worst_cases(records: pd.DataFrame, kernels: Mapping[str, str], norm: str = "linf") -> pd.DataFrame:
    """Compare what all attacks together leave of two precisions, trainings or preprocessors, sample by sample.

    One row for each pair that is equal in all else, at each budget in `norm`, each target on the kernels given, and
    for the samples that are `counted`: `all` that `worst_case` counts on both sides, or those that every attack met on
    both (`every_attack`). Given are the shares that are robust, their difference with its paired interval (Newcombe
    1998), and McNemar's exact p-value. What is compared has no value in its own column.
    """
    outcomes = list(_outcomes(counted(records[records["kernels"] == records["target"].map(kernels)]), norm))
    rows = []
    for compared in COMPARED:
        settings: dict[tuple, list] = {}
        for point, robust in outcomes:
            shared = tuple(value for key, value in point.items() if key not in (compared, "kernels"))
            settings.setdefault(shared, []).append((point, robust))
        for alike in settings.values():
            for (first, left), (second, right) in combinations(alike, 2):
                both = left.index.intersection(right.index)
                pair = compared_pair(left[both].to_numpy(bool), right[both].to_numpy(bool))
                names = {"compared": compared, "first": first[compared], "second": second[compared]}
                rows.append({**first, **names, compared: None, **pair})
    return pd.DataFrame(rows, columns=PAIRED)


def _outcomes(records: pd.DataFrame, norm: str) -> Iterator[tuple[dict[str, Any], pd.Series]]:
    """Yield each network and budget with which samples are robust, for all that count and for those of every attack."""
    for point, group, samples in _points(records, norm):
        chosen = _chosen(group, samples)
        robust = survivors(chosen, norm, point["budget"])
        yield {**point, "counted": ALL}, robust
        met = _met_by_all(chosen, norm, point["budget"])
        yield {**point, "counted": EVERY_ATTACK}, robust[robust.index.isin(met)]


def with_adaptive(defenses: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the rows of the worst case, `adaptive` telling whether adaptive attacks are in it; `keys` name a point."""
    known = defenses.loc[defenses["part"] == ADAPTIVE, keys].assign(adaptive=True)
    worst = defenses[defenses["part"] == WORST].merge(known, on=keys, how="left")
    return worst.assign(adaptive=worst["adaptive"].eq(True)).drop(columns="part")


def _points(records: pd.DataFrame, norm: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame, set[int]]]:
    """Yield each network and budget, the network's records, and the samples that each part met at the budget."""
    for key, group in records.groupby(NETWORK, sort=False, observed=True):
        for budget in _budgets(group[_aimed(group)], norm):
            met = _at(group, norm, budget)
            samples = set.intersection(*(set(rows) for _, rows in met["sample"].groupby(part(met))))
            levels = {"norm": norm, "budget": budget, "levels": budget * 255}
            yield {**dict(zip(NETWORK, key, strict=True)), **levels}, group, samples


def _budgets(records: pd.DataFrame, norm: str) -> Iterable[float]:
    budgets = records.loc[records["norm"] == norm, "budget"].dropna().unique()
    return sorted(budget for budget in budgets if budget < UNBOUNDED.get(norm, np.inf))


def _at(records: pd.DataFrame, norm: str, budget: float) -> pd.DataFrame:
    """Return the records of attacks on this network that looked in this norm within this budget, or for the nearest."""
    looked = (records["budget"] == budget) | records["budget"].isna()
    return records[_aimed(records) & looked & (records["norm"] == norm)]


def _aimed(records: pd.DataFrame) -> pd.Series:
    """Return which records are not of attacks on another defense; what these find by the way is no more than that."""
    return (records["through"] == "none") | (records["through"] == records["preprocessor"])


def _chosen(records: pd.DataFrame, samples: set[int]) -> pd.DataFrame:
    return records[records["sample"].isin(samples)]


def _rate(records: pd.DataFrame, norm: str, budget: float) -> dict[str, float]:
    run = _at(records, norm, budget)
    robust, attacks = survivors(records, norm, budget), run[["source", "attack"]].drop_duplicates().shape[0]
    everywhere = _met_by_all(records, norm, budget)
    strict = {f"{name}_every_attack": value for name, value in _share(robust[robust.index.isin(everywhere)]).items()}
    return {"attacks": attacks, **_share(robust), **strict}


def _met_by_all(records: pd.DataFrame, norm: str, budget: float) -> set[int]:
    """Return the samples that every attack met which looked within this budget."""
    looked = _at(records, norm, budget).groupby(["source", "attack"], observed=True)["sample"]
    return set.intersection(*(set(samples) for _, samples in looked)) if looked.ngroups else set()


def _share(robust: pd.Series) -> dict[str, float]:
    low, high = wilson(int(robust.sum()), len(robust)) if len(robust) else (np.nan, np.nan)
    return {"samples": len(robust), "accuracy": robust.mean(), "ci_low": low, "ci_high": high}


def _masked(chosen: pd.DataFrame, group: pd.DataFrame, norm: str, budget: float) -> dict[str, Any]:
    """Return `masked` and `reason` for the samples `chosen` among the records of one network."""
    reasons, checked = [], False
    own = _white_box(chosen)
    looked = _at(chosen[own], norm, budget)["sample"]
    white = survivors(_chosen(chosen[own], set(looked)), norm, budget)
    blind = _at(chosen[~_with_gradients(chosen)], norm, budget)
    left, others = [], blind.groupby(["attack", "source"], sort=False, observed=True)
    z = normal.ppf(1 - (1 - CONFIDENCE) / 2 / max(1, others.ngroups))
    for (attack, source), rows in others:
        black = survivors(rows, norm, budget)
        both = white.index.intersection(black.index)
        checked |= len(both) > 0
        _, low, _ = paired_difference(white[both].to_numpy(), black[both].to_numpy(), z)
        if low > 0:
            left.append((black[both].mean(), white[both].mean(), f"{attack} from {source}"))
    if left:
        black_share, white_share, name = min(left)
        shares = f"{100 * black_share:.1f} % against {100 * white_share:.1f} %"
        reasons.append(f"{name}, without its gradients, leaves fewer samples ({shares})")
    free = group[_white_box(group) & (group["norm"] == norm)]
    free = free[free["budget"] >= UNBOUNDED.get(norm, np.inf)]
    if len(free):
        checked = True
        share = survivors(free, norm, np.inf).mean()
        if share > 0:
            reasons.append(f"a white-box attack without bounds leaves {100 * share:.1f} %")
    return {"masked": bool(reasons) if checked else None, "reason": "; ".join(reasons)}


def _white_box(records: pd.DataFrame) -> pd.Series:
    """Return which records are of attacks with the gradients of the very network, on the kernels it is evaluated on."""
    return _with_gradients(records) & (records["kernels"] == records["source_kernels"])


def _with_gradients(records: pd.DataFrame) -> pd.Series:
    """Return which records are of attacks with the gradients of the very network, on whichever kernels."""
    return (part(records) == ADAPTIVE) & (records["access"] == "white_box")
