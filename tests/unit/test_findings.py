"""Verdicts on findings, on tables whose answer is known by construction."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from qnn_robustness.evaluation import findings as module
from qnn_robustness.evaluation.findings import CLAIMS, holm, verdict
from qnn_robustness.evaluation.reported import reported


def findings(robust: pd.DataFrame, paired: pd.DataFrame) -> pd.DataFrame:
    return module.findings(robust, paired, ["standard", "pretrained"])


def robust() -> pd.DataFrame:
    """Return a table of one attack with two budgets on hardened and standard networks, with a preprocessor."""
    rows = []
    axes = (("standard", "hardened"), ("float32", "int16", "int8"), (0.1, 0.2), ("none", "bits"))
    for training, target, budget, preprocessor in product(*axes):
        accuracy = 0.9 - (budget == 0.2) * 0.5 + (training == "hardened") * 0.1
        accuracy += (preprocessor == "bits") * (budget == 0.1) * 0.1 - (target == "int8") * 0.01
        rows.append(
            {
                "model": "net", "training": training, "source": "float32", "target": target, "kernels": target,
                "attack": "pgd", "protocol": "sound", "norm": "linf",
                "budget": budget, "through": "none", "preprocessor": preprocessor,
                "seed": 0, "accuracy": accuracy, "ci_low": accuracy - 0.04, "ci_high": accuracy + 0.04,
                "success_rate": 1 - accuracy, "median_distortion": budget,
                "q1_distortion": budget, "q3_distortion": budget,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def paired(difference: float, p_value: float) -> pd.DataFrame:
    """Return tests of float32 with int8, int16 with int8, and float32 with int16 on samples from float32."""
    pairs = [("float32", "int8"), ("int16", "int8"), ("float32", "int16")]
    return pd.DataFrame(
        [
            {"source": "float32", "attack": "pgd", "norm": "linf", "budget": 0.1, "preprocessor": "none",
             "first": a, "second": b, "difference": difference, "p_value": p_value}
            for a, b in pairs
        ]
    )  # fmt: skip


def row(table: pd.DataFrame, name: str) -> pd.Series:
    return table.set_index("finding").loc[name]


def test_all_findings_are_listed_with_their_claims() -> None:
    table = findings(robust(), paired(-0.1, 0.001))
    assert dict(zip(table["finding"], table["claim"], strict=True)) == CLAIMS


def test_a_finding_without_settings_is_not_measured() -> None:
    assert row(findings(robust(), paired(0, 1)), "F1")["verdict"] == "not measured"


@pytest.mark.parametrize(
    ("difference", "p_value", "f2", "f3"),
    [
        (-0.1, 0.001, "borne out", "borne out"),  # the second of each pair, the narrower one, is right more often
        (0.1, 0.001, "contradicted", "contradicted"),
        (-0.1, 0.04, "open: the samples do not decide", "borne out"),  # Holm over two tests for F2, one for F3
        (-0.1, 0.5, "open: the samples do not decide", "open: the samples do not decide"),
    ],
)
def test_paired_findings_follow_sign_and_significance(difference: float, p_value: float, f2: str, f3: str) -> None:
    table = findings(robust(), paired(difference, p_value))
    assert (row(table, "F2")["verdict"], row(table, "F3")["verdict"]) == (f2, f3)


def test_precisions_are_compared_only_on_samples_crafted_on_neither() -> None:
    """Of the three pairs only int16 against int8 has no part in float32, the source."""
    counts = row(findings(robust(), paired(-0.1, 0.001)), "F3")
    assert counts["borne_out"] + counts["contradicted"] + counts["open"] == 1


def test_preprocessor_that_helps_at_first_and_falls_short_bears_f4_out() -> None:
    result = row(findings(robust(), paired(0, 1)), "F4")
    assert (result["borne_out"], result["contradicted"], result["open"]) == (6, 0, 0)


def test_budgets_of_another_protocol_do_not_decide_on_f4() -> None:
    """The other's smallest budget is too small for any attack, so that no preprocessor can help there."""
    tiny = robust().query("budget == 0.1").assign(protocol="paper", budget=1e-4, accuracy=1, ci_low=0.96, ci_high=1)
    result = row(findings(pd.concat([robust(), tiny]), paired(0, 1)).query("protocol == 'sound'"), "F4")
    assert (result["borne_out"], result["contradicted"], result["open"]) == (6, 0, 0)


def test_each_protocol_has_verdicts_of_its_own() -> None:
    """Nothing of one enters the other: neither its settings nor, through Holm's correction, the number of its tests."""
    paper = robust().assign(protocol="paper", attack="pgd_paper", accuracy=0.5, ci_low=0.4, ci_high=0.6)
    tests = [paired(-0.1, 0.02), *(paired(0.1, 0.03).assign(attack="pgd_paper") for _ in range(9))]
    table = findings(pd.concat([robust(), paper]), pd.concat(tests))
    of_sound, of_paper = (table[table["protocol"] == name].reset_index(drop=True) for name in ("sound", "paper"))
    pd.testing.assert_frame_equal(of_sound, findings(robust(), tests[0]))
    assert row(of_sound, "F2")["verdict"] == "borne out"
    assert row(of_paper, "F2")["verdict"] == row(of_paper, "F5")["verdict"] == "open: the samples do not decide"


def test_preprocessor_that_harms_contradicts_f4() -> None:
    table = robust()
    harmed = table["preprocessor"] == "bits"
    table.loc[harmed, ["accuracy", "ci_low", "ci_high"]] -= 0.3
    assert row(findings(table, paired(0, 1)), "F4")["verdict"] == "contradicted"


def test_hardening_counts_on_every_precision_and_budget() -> None:
    result = row(findings(robust(), paired(0, 1)), "F5")
    assert (result["borne_out"], result["verdict"]) == (6, "borne out")


def test_only_trainings_that_defend_count_as_hardened() -> None:
    given = robust().replace({"training": {"hardened": "pretrained"}})
    table = findings(given, paired(0, 1))
    assert row(table, "F5")["verdict"] == row(table, "F6")["verdict"] == "not measured"


def test_transfer_on_hardened_networks() -> None:
    table = robust()
    assert row(findings(table, paired(0, 1)), "F6")["verdict"] == "borne out"
    table.loc[table["target"] != "float32", "success_rate"] = 0.0
    result = row(findings(table, paired(0, 1)), "F6")
    assert result["borne_out"] == 0
    assert result["contradicted"] > 0


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


def test_attacks_that_know_the_preprocessor_decide_on_f4_alone() -> None:
    adaptive = robust().assign(attack="adaptive", through="bits", accuracy=0.0, ci_low=0.0, ci_high=0.01)
    tests = paired(-0.1, 0.001)
    without = findings(robust(), tests).set_index("finding")
    both = findings(pd.concat([robust(), adaptive]), pd.concat([tests, tests.assign(attack="adaptive", p_value=1.0)]))
    both = both.set_index("finding")
    pd.testing.assert_frame_equal(both.drop("F4"), without.drop("F4"))
    assert (without.loc["F4", "verdict"], both.loc["F4", "verdict"]) == ("borne out", "contradicted")


def test_attacks_that_know_the_preprocessor_decide_on_f4_whatever_their_seeds() -> None:
    adaptive = robust().assign(attack="adaptive", through="bits", accuracy=0.0, ci_low=0.0, ci_high=0.01, seed=4)
    assert row(findings(pd.concat([robust(), adaptive]), paired(0, 1)), "F4")["verdict"] == "contradicted"


def test_an_unbounded_attack_does_not_show_that_a_preprocessor_falls_short() -> None:
    table = robust()
    flat = table[table["budget"] == 0.1]
    unbounded = flat.assign(budget=1.0, accuracy=0.0, ci_low=0.0, ci_high=0.01)
    assert row(findings(pd.concat([flat, unbounded]), paired(0, 1)), "F4")["verdict"] == "not measured"


def test_attacks_without_bounds_decide_on_no_finding() -> None:
    """They fool every network, which shows neither transfer nor that differences are open."""
    table, tests = robust(), paired(-0.1, 0.03)
    unbounded = table[table["budget"] == 0.1].assign(
        attack="free", budget=1.0, accuracy=0.0, ci_low=0.0, ci_high=0.01, success_rate=1.0
    )
    no_difference = tests.assign(attack="free", budget=1.0, difference=0.0, p_value=1.0)
    with_unbounded = findings(pd.concat([table, unbounded]), pd.concat([tests, no_difference]))
    pd.testing.assert_frame_equal(with_unbounded, findings(table, tests))


def test_the_largest_ratio_of_signal_to_noise_is_the_smallest_budget_in_f4() -> None:
    table = robust().assign(norm="snr")
    table["budget"] = table["budget"].map({0.1: 50.0, 0.2: 30.0})
    result = row(findings(table, paired(0, 1)), "F4")
    assert (result["borne_out"], result["contradicted"], result["open"]) == (6, 0, 0)


def test_the_vote_is_no_precision() -> None:
    """Neither what is crafted on it nor what is evaluated on it counts for or against a finding."""
    table, tests = robust(), paired(-0.1, 0.001)
    near = table[table["budget"] == 0.1]
    minimal = near.assign(source=near["target"], budget=float("nan"), attack="fmn")
    table = pd.concat([table, minimal], ignore_index=True)
    voted = table[table["target"] == "int8"].assign(target="vote", kernels="all", success_rate=0.0)
    own = voted[voted["attack"] == "fmn"].assign(source="vote", q1_distortion=9.0)
    with_vote = findings(pd.concat([table, voted, own], ignore_index=True), tests)
    pd.testing.assert_frame_equal(with_vote, findings(table, tests))
