"""Verdicts on findings, on tables whose answer is known by construction."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from qnn_robustness.evaluation import findings as module
from qnn_robustness.evaluation.findings import CLAIMS, holm, verdict
from qnn_robustness.evaluation.reported import reported

OPEN = "open: the samples do not decide"


def findings(robust: pd.DataFrame, paired: pd.DataFrame) -> pd.DataFrame:
    return module.findings(robust, paired, ["net/standard"])


def robust() -> pd.DataFrame:
    """Return a table of hardened and standard networks, attacked by pgd, and by one that knows their preprocessor.

    All precisions are as robust, but for a point; the preprocessor helps at the smaller of two budgets.
    """
    rows = []
    precisions = ("float32", "int16", "int8")
    fronts = (("none", "none"), ("none", "bits"), ("bits", "bits"))
    axes = (("standard", "hardened"), precisions, precisions, (0.1, 0.2), fronts)
    for training, source, target, budget, (through, preprocessor) in product(*axes):
        accuracy = 0.7 - (budget == 0.2) * 0.5 + (training == "hardened") * 0.1 + (source != target) * 0.02
        accuracy += (preprocessor == "bits") * (budget == 0.1) * 0.1 - (target == "int8") * 0.01
        rows.append(
            {
                "model": "net", "training": training, "source": source, "target": target, "kernels": target,
                "attack": "pgd" if through == "none" else "adaptive", "protocol": "sound", "lattice": "uint8",
                "norm": "linf", "budget": budget, "through": through, "preprocessor": preprocessor,
                "seed": 0, "accuracy": accuracy, "ci_low": accuracy - 0.04, "ci_high": accuracy + 0.04,
                "success_rate": 1 - accuracy,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def shifted(table: pd.DataFrame, rows: pd.Series, by: float) -> pd.DataFrame:
    """Return the table with the accuracies of some rows moved."""
    moved = table.copy()
    moved.loc[rows, ["accuracy", "ci_low", "ci_high"]] += by
    return moved


def paired(difference: float, p_value: float) -> pd.DataFrame:
    """Return tests of float32 with int8 and with int16 on samples from float32, and one of samples from int8."""
    pairs = [("float32", "float32", "int8"), ("float32", "float32", "int16"), ("int8", "int16", "float32")]
    return pd.DataFrame(
        [
            {"model": "net", "source": source, "attack": "pgd", "norm": "linf", "budget": 0.1, "preprocessor": "none",
             "first": a, "second": b, "difference": difference, "p_value": p_value}
            for source, a, b in pairs
        ]
    )  # fmt: skip


def row(table: pd.DataFrame, name: str) -> pd.Series:
    return table.set_index("finding").loc[name]


def settings(table: pd.DataFrame, name: str) -> tuple[int, int, int]:
    return tuple(row(table, name)[["borne_out", "contradicted", "open"]])


def test_an_attack_that_minimises_on_the_lattice_says_where_a_model_is_attacked() -> None:
    off = robust().assign(lattice="float")
    beside = robust().assign(attack="deepfool", budget=float("nan"))
    assert settings(findings(off, paired(0, 1)), "F5") == (6, 0, 0)
    assert settings(findings(pd.concat([off, beside]), paired(0, 1)), "F5") == (0, 0, 0)


def test_tests_off_the_lattice_stay_out_where_another_model_is_attacked_there_alone() -> None:
    table, tests = robust(), paired(0, 1)
    off, sound = table.assign(attack="off", lattice="float"), table.assign(model="sound", attack="off", lattice="float")
    of_off = paired(0.1, 0.0001).assign(attack="off")
    of_sound = paired(0, 1).assign(model="sound", attack="off")
    table = pd.concat([table, off, sound])
    alone = findings(table, pd.concat([tests, of_sound], ignore_index=True))
    assert settings(alone, "F2") == (0, 0, 4)
    with_off = findings(table, pd.concat([tests, of_off, of_sound], ignore_index=True))
    pd.testing.assert_frame_equal(with_off, alone)


def test_all_findings_are_listed_with_their_claims() -> None:
    table = findings(robust(), paired(-0.1, 0.001))
    assert dict(zip(table["finding"], table["claim"], strict=True)) == CLAIMS


@pytest.mark.parametrize(
    "changes",
    [{"budget": float("nan")}, {"budget": 1.0}, {"source": "vote"}, {"target": "vote", "kernels": "all"}],
    ids=["minimal", "unbounded", "crafted on the vote", "evaluated on the vote"],
)
def test_what_does_not_count_leaves_findings_unmeasured(changes: dict) -> None:
    """A minimal attack ends at a boundary, one without bounds fools all, and the vote is no precision."""
    tests = paired(-0.1, 0.001)
    of_tests = {name: value for name, value in changes.items() if name in tests} | {
        "first": changes.get("target", "float32")
    }
    table = findings(robust().assign(**changes), tests.assign(**of_tests))
    assert table["finding"].tolist() == list(CLAIMS)
    assert set(table["verdict"]) == {"not measured"}


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": float("nan")},
        {"budget": 1.0},
        {"source": "vote"},
        {"target": "vote", "kernels": "all"},
        {"lattice": "float"},
    ],
    ids=["minimal", "unbounded", "crafted on the vote", "evaluated on the vote", "no 8-bit images"],
)
def test_what_does_not_count_changes_no_verdict(changes: dict) -> None:
    table = robust()
    added = table.assign(attack="added", accuracy=0.0, ci_low=0.0, ci_high=0.01, success_rate=1.0, **changes)
    pd.testing.assert_frame_equal(
        findings(pd.concat([table, added]), paired(-0.1, 0.001)), findings(table, paired(-0.1, 0.001))
    )


@pytest.mark.parametrize(
    ("difference", "p_value", "verdict_of_f2"),
    [
        (-0.1, 0.001, "borne out"),  # the integer network, second in each pair, is right more often
        (0.1, 0.001, "contradicted"),
        (-0.1, 0.04, OPEN),  # Holm: two tests
        (-0.1, 0.5, OPEN),
    ],
)
def test_transfer_from_float32_follows_sign_and_significance(
    difference: float, p_value: float, verdict_of_f2: str
) -> None:
    table = findings(robust(), paired(difference, p_value))
    assert row(table, "F2")["verdict"] == verdict_of_f2
    assert sum(settings(table, "F2")) == 2


def test_int8_is_compared_where_each_precision_is_attacked_itself() -> None:
    """Two networks, two budgets, two other precisions; what is transferred to int8 alone says nothing of it."""
    table = robust()
    assert settings(findings(table, paired(0, 1)), "F3") == (0, 0, 8)
    on_int8 = table["target"] == "int8"
    assert settings(findings(shifted(table, on_int8, 0.2), paired(0, 1)), "F3") == (8, 0, 0)
    assert settings(findings(shifted(table, on_int8, -0.2), paired(0, 1)), "F3") == (0, 8, 0)
    transferred = table[~(on_int8 & (table["source"] == "int8"))]
    assert settings(findings(transferred, paired(0, 1)), "F3") == (0, 0, 0)


def test_the_attack_that_does_best_decides_and_few_samples_prove_little() -> None:
    table = robust()
    search = shifted(table, table["target"] == "int8", 0.3).assign(attack="square")
    assert settings(findings(pd.concat([table, search]), paired(0, 1)), "F3") == (0, 0, 8)
    few = table.assign(attack="few", accuracy=table["accuracy"] - 0.05, ci_low=0.0, ci_high=1.0)
    both = findings(pd.concat([table, few]), paired(0, 1))
    for name in ("F3", "F4", "F5"):
        assert settings(both, name) == settings(findings(table, paired(0, 1)), name)


def test_preprocessor_that_helps_at_first_and_falls_short_bears_f4_out() -> None:
    assert settings(findings(robust(), paired(0, 1)), "F4") == (6, 0, 0)


def test_preprocessor_that_harms_contradicts_f4() -> None:
    table = robust()
    harmed = shifted(table, table["preprocessor"] == "bits", -0.3)
    assert row(findings(harmed, paired(0, 1)), "F4")["verdict"] == "contradicted"


def test_attacks_that_know_the_preprocessor_decide_on_f4_alone() -> None:
    table = robust()
    knowing = table["through"] == "bits"
    broken = table.assign(**{name: table[name].mask(knowing, 0.0) for name in ("accuracy", "ci_low", "ci_high")})
    plain, both = (findings(each, paired(0, 1)).set_index("finding") for each in (table, broken))
    assert both.loc["F4", "verdict"] == "contradicted"
    pd.testing.assert_frame_equal(both.drop("F4"), plain.drop("F4"))


def test_a_preprocessor_that_no_attack_on_the_very_network_knows_is_no_evidence() -> None:
    table = robust()
    own = (table["through"] == "bits") & (table["source"] == table["target"])
    assert settings(findings(table[~own], paired(0, 1)), "F4") == (0, 0, 0)
    assert settings(findings(table[~(own & (table["target"] == "int16"))], paired(0, 1)), "F4") == (4, 0, 0)


def test_the_largest_ratio_of_signal_to_noise_is_the_smallest_budget_in_f4() -> None:
    table = robust().assign(norm="snr")
    table["budget"] = table["budget"].map({0.1: 50.0, 0.2: 30.0})
    assert settings(findings(table, paired(0, 1)), "F4") == (6, 0, 0)


def test_each_protocol_has_verdicts_of_its_own() -> None:
    """Nothing of one enters the other: neither its settings nor, through Holm's correction, the number of its tests."""
    paper = robust().assign(protocol="paper", attack="pgd_paper", accuracy=0.5, ci_low=0.4, ci_high=0.6)
    tests = [paired(-0.1, 0.02), *(paired(0.1, 0.03).assign(attack="pgd_paper") for _ in range(9))]
    table = findings(pd.concat([robust(), paper]), pd.concat(tests))
    of_sound, of_paper = (table[table["protocol"] == name].reset_index(drop=True) for name in ("sound", "paper"))
    pd.testing.assert_frame_equal(of_sound, findings(robust(), tests[0]))
    assert row(of_sound, "F2")["verdict"] == "borne out"
    assert row(of_paper, "F2")["verdict"] == row(of_paper, "F5")["verdict"] == OPEN


def test_hardening_counts_on_every_precision_and_budget() -> None:
    assert settings(findings(robust(), paired(0, 1)), "F5") == (6, 0, 0)


def test_an_attack_that_loses_its_gradients_does_not_bear_hardening_out() -> None:
    """Another one, that finds as much on the hardened network as on the plain one, decides."""
    table = robust()
    right = shifted(table, table["training"] == "hardened", -0.1).assign(attack="temperature")
    assert settings(findings(pd.concat([table, right]), paired(0, 1)), "F5") == (0, 0, 6)


def test_only_networks_that_are_defended_count_as_hardened() -> None:
    table = module.findings(robust(), paired(0, 1), ["net/standard", "net/hardened"])
    assert row(table, "F5")["verdict"] == row(table, "F6")["verdict"] == "not measured"


def test_transfer_on_hardened_networks() -> None:
    """Three sources, two other precisions each, two budgets."""
    table = robust()
    assert settings(findings(table, paired(0, 1)), "F6") == (12, 0, 0)
    table.loc[table["target"] != table["source"], "success_rate"] = 0.0
    assert settings(findings(table, paired(0, 1)), "F6") == (0, 12, 0)


def test_holm_against_a_worked_example() -> None:
    """0.01 x 4, 0.03 x 3 and then never smaller than the one before; indices stay with their values."""
    corrected = holm(pd.Series({"a": 0.03, "b": 0.04, "c": 0.01, "d": 0.9}))
    assert corrected.to_dict() == pytest.approx({"a": 0.09, "b": 0.09, "c": 0.04, "d": 0.9})


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((0, 0, 0), "not measured"),
        ((3, 0, 0), "borne out"),
        ((0, 3, 0), "contradicted"),
        ((1, 1, 0), "mixed"),
        ((1, 0, 2), "borne out in part"),
        ((0, 1, 2), "contradicted in part"),
        ((0, 0, 2), "open: the samples do not decide"),
    ],
)
def test_verdicts(counts: tuple[int, int, int], words: str) -> None:
    assert verdict(*counts) == words


def test_reported_rows_are_on_the_first_kernel_set_of_each_target() -> None:
    table = pd.DataFrame(
        {
            "target": ["int8", "int8", "float32", "int8", "int8"],
            "kernels": ["reference", "xnnpack", "tensorflow", "xnnpack", "reference"],
            "value": range(5),
        }
    )
    assert reported(table)["value"].to_list() == [0, 2, 4]
