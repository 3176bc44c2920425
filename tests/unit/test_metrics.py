"""Records and metrics on a case that can be counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qnn_robustness.common.distances import distance
from qnn_robustness.common.errors import UserError
from qnn_robustness.data.splits import Split
from qnn_robustness.evaluation import metrics, tables
from qnn_robustness.evaluation.records import adversarial_records, clean_records
from qnn_robustness.evaluation.statistics import wilson
from qnn_robustness.evaluation.worst_case import DEFENSES, defenses, paired_worst_cases, worst_case

LABELS = np.array([0, 0, 1, 1, 0])
CONSTANTS = {
    "model": "m",
    "training": "standard",
    "source": "float32",
    "target": "int8",
    "attack": "a",
    "protocol": "sound",
    "access": "white_box",
    "norm": "linf",
    "lattice": "uint8",
    "through": "none",
    "preprocessor": "none",
}


def brightness(samples: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """A network of two classes: 1 where the first pixel is above 100, a tie at exactly 100."""
    first = samples.reshape(len(samples), -1)[:, 0].astype(np.float64)
    first = first if samples.dtype == np.uint8 else first * 255
    return np.stack([np.full(len(first), 100.0), first], axis=1)


def images(*first: int) -> np.ndarray:
    result = np.zeros((len(first), 2, 1, 1), np.uint8)
    result[:, 0, 0, 0] = first
    return result


@pytest.fixture
def test_split() -> Split:
    return Split(images(50, 90, 150, 110, 200), LABELS)  # the last one is misclassified when clean


def test_without_integer_models_their_table_is_empty_but_has_its_columns(tmp_path):
    path = tmp_path / "table.csv"
    tables.integer_model_exactness({"tables": []}).to_csv(path, index=False)
    published = Path(__file__).parents[2] / "docs" / "results" / "integer_model_exactness.csv"
    assert pd.read_csv(path).columns.tolist() == pd.read_csv(published).columns.tolist()


@pytest.mark.parametrize(("norm", "length"), [("linf", 1 / 255), ("l2", 2**0.5 / 255), ("l1", 2 / 255), ("l0", 2)])
def test_images_that_differ_alike_have_the_very_same_distance(norm: str, length: float) -> None:
    darker = np.repeat(np.arange(255, dtype=np.uint8), 2).reshape(255, 2, 1, 1)
    found = distance(norm, darker, darker + np.uint8(1)), distance(norm, darker + np.uint8(1), darker)
    assert np.unique(found).tolist() == [pytest.approx(length)]


@pytest.fixture
def clean(test_split) -> pd.DataFrame:
    return clean_records(test_split, {"reference": brightness})


CRAFTED = {
    "adversarial": images(60, 101, 150, 90, 210)[None, None],  # sample 1 and 3 are fooled
    "found": np.array([[[False, True, False, True, True]]]),
    "queries": np.array([[[10, 20, 30, 40, 1]]]),
    "samples": np.arange(5),
    "seeds": np.array([7]),
    "budgets": np.array([20 / 255]),
    "metadata": np.array(json.dumps({"kernels": "reference"})),
}


@pytest.fixture
def records(test_split, clean) -> pd.DataFrame:
    return adversarial_records(CRAFTED, test_split, {"reference": brightness}, clean, clean, CONSTANTS)


def test_clean_records(clean):
    assert clean["correct"].tolist() == [True, True, True, True, False]
    assert not clean["tie"].any()


def test_ties_are_counted_and_the_first_class_decides(test_split):
    tied = clean_records(Split(images(100, 100), np.array([0, 1])), {"reference": brightness})
    assert tied["tie"].all()
    assert tied["correct"].tolist() == [True, False]


def test_an_answer_without_numbers_is_no_class(test_split, clean):
    def broken(samples: np.ndarray, indices: np.ndarray) -> np.ndarray:
        scores = brightness(samples, indices)
        return np.where(scores[:, 1:] > 200, np.nan, scores)

    rows = adversarial_records(CRAFTED, test_split, {"reference": broken}, clean, clean, CONSTANTS)
    assert rows["adversarial_prediction"].tolist()[4] == -1
    assert not rows["adversarial_correct"].tolist()[4], "though its label is 0, and so is the place of the first NaN"
    with pytest.raises(UserError, match=r"answers 1 of 2 clean samples with scores that are no numbers"):
        clean_records(Split(images(10, 210), np.array([0, 0])), {"reference": broken})


def test_records_hold_what_was_scored(records):
    assert records["adversarial_correct"].tolist() == [True, False, True, False, False]
    assert records["source_correct"].tolist() == records["target_correct"].tolist() == [True] * 4 + [False]
    assert records["linf"].to_numpy() * 255 == pytest.approx([10, 11, 0, 20, 10])
    assert records["l0"].tolist() == [1, 1, 0, 1, 1]


def test_values_are_the_same_whatever_the_precision_of_their_floats():
    """Images on the float lattice are stored as float32, and compared with 8-bit ones."""
    clean = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    adversarial = clean.astype(np.float32) / np.float32(255)
    adversarial[0, 3, 4] += 1 / 65535
    assert distance("l0", adversarial, clean).tolist() == [1]


def test_rates_counted_by_hand(records):
    (row,) = metrics.robust_accuracy(records).to_dict("records")
    assert row["samples"] == 5
    assert row["accuracy"] == pytest.approx(2 / 5)
    assert row["success_rate"] == pytest.approx(2 / 4)
    assert row["median_distortion"] * 255 == pytest.approx(15.5)
    assert row["median_queries"] == 20
    assert row["levels"] == pytest.approx(20)
    assert row["ci_low"] < 2 / 5 < row["ci_high"]
    assert row["ties"] == 0


def test_ties_under_attack_are_counted(test_split, clean):
    crafted = {
        "adversarial": images(100, 100, 100, 99, 101)[None, None],
        "found": np.zeros((1, 1, 5), bool),
        "queries": np.ones((1, 1, 5), int),
        "samples": np.arange(5),
        "seeds": np.array([7]),
        "budgets": np.array([np.nan]),
        "metadata": np.array(json.dumps({"kernels": "reference"})),
    }
    tied = adversarial_records(crafted, test_split, {"reference": brightness}, clean, clean, CONSTANTS)
    (row,) = metrics.robust_accuracy(tied).to_dict("records")
    assert row["ties"] == pytest.approx(3 / 5)
    assert row["accuracy"] == pytest.approx(2 / 5)  # of tied samples those whose label comes first are right
    assert row["seed"] == 7
    assert row["eligible"] == 4
    assert row["success_ci_low"] < 2 / 4 < row["success_ci_high"]


def test_samples_the_source_gets_wrong_are_no_successes(records):
    changed = records.assign(source_correct=[True, False, True, True, True])
    (row,) = metrics.robust_accuracy(changed).to_dict("records")
    assert row["success_rate"] == pytest.approx(1 / 3)
    assert row["accuracy"] == pytest.approx(2 / 5)  # robust accuracy does not ask the source


def test_a_sample_is_robust_only_if_it_survives_every_attack(records):
    other = records.assign(attack="b", adversarial_correct=[False, True, True, True, False])
    minimal = records.assign(
        attack="c",
        norm="l2",
        budget=np.nan,
        adversarial_correct=[True, True, False, True, True],
        linf=21 / 255,
    )
    table = worst_case(pd.concat([records, other, minimal]))
    (row,) = table.to_dict("records")
    assert row["accuracy"] == pytest.approx(1 / 5)  # sample 2: its only failure is farther than the budget
    assert row["attacks"] == 2, "the one in L2 does not look for what is near in Linf, though what it finds counts"
    near = worst_case(pd.concat([records, other, minimal.assign(linf=20 / 255)]))
    assert near["accuracy"].tolist() == [0.0]


def test_the_worst_case_leaves_out_the_paper_protocol_and_the_float_lattice(records):
    unsound = records.assign(attack="p", protocol="paper", adversarial_correct=False)
    off = records.assign(attack="f", lattice="float", adversarial_correct=False)
    assert worst_case(pd.concat([records, unsound, off]))["accuracy"].tolist() == [2 / 5]


def test_the_worst_case_of_features_which_know_no_lattice_counts_all(records):
    features = records.assign(lattice="float", model="speech")
    table = worst_case(pd.concat([records, features], ignore_index=True)).set_index("model")
    assert table.loc["speech", "accuracy"] == table.drop("speech")["accuracy"].item()


def test_paired_tests_use_samples_that_all_precisions_get_right(records):
    other = records.assign(
        target="int16",
        target_correct=[False, True, True, True, True],
        adversarial_correct=[True, True, True, False, True],
    )
    (row,) = metrics.paired_tests(pd.concat([records, other]), {"int8": "reference", "int16": "reference"}).to_dict(
        "records"
    )
    assert (row["first"], row["second"], row["samples"]) == ("int16", "int8", 3)
    assert row["first_accuracy"] == pytest.approx(2 / 3)
    assert row["second_accuracy"] == pytest.approx(1 / 3)
    assert row["difference"] == pytest.approx(1 / 3)
    assert row["p_value"] == 1.0  # one discordant pair says nothing


def test_sources_and_attacks_are_compared_on_the_samples_of_both(records):
    kernels = {"int8": "reference"}
    white_box = records.assign(source="int8", adversarial_correct=[False, False, True, False, False])
    stronger = white_box.assign(attack="b")[1:]  # attacked one sample less
    both = pd.concat([records, white_box, stronger])
    (sources,) = metrics.paired_tests(both, kernels, "source").to_dict("records")
    assert (sources["first"], sources["second"], sources["samples"]) == ("float32", "int8", 4)
    assert (sources["attack"], sources["target"]) == ("a", "int8")
    assert sources["difference"] == pytest.approx(1 / 4)
    (attacks,) = metrics.paired_tests(both, kernels, "attack").to_dict("records")
    assert (attacks["first"], attacks["second"], attacks["source"], attacks["samples"]) == ("a", "b", "int8", 3)
    assert attacks["difference"] == 0


def test_a_third_setting_with_fewer_samples_takes_none_from_the_other_two(records):
    costly = records.assign(attack="c")[:1]
    table = metrics.paired_tests(
        pd.concat([records, records.assign(attack="b"), costly]), {"int8": "reference"}, "attack"
    )
    assert table.set_index(["first", "second"])["samples"].to_dict() == {("a", "b"): 4, ("a", "c"): 1, ("b", "c"): 1}


def test_classes_count_alike_in_the_balanced_accuracy(clean):
    """Two of three are right in the first class, both in the second."""
    table = metrics.clean_accuracy(network(clean))
    assert table["accuracy"].tolist() == [0.8]
    assert table["balanced_accuracy"].tolist() == pytest.approx([(2 / 3 + 1) / 2])


def test_each_class_has_an_accuracy_of_its_own(clean):
    table = metrics.class_accuracy(network(clean), {"m": ["cat", "dog"]})
    assert table[["model", "kernels", "class", "samples"]].to_numpy().tolist() == [
        ["m", "reference", "cat", 3],
        ["m", "reference", "dog", 2],
    ]
    assert table["accuracy"].tolist() == pytest.approx([2 / 3, 1])
    assert table.loc[1, ["ci_low", "ci_high"]].tolist() == pytest.approx(wilson(2, 2))


def test_tables_of_classes_take_names_and_counts_from_the_summaries(clean, tmp_path):
    network(clean).to_parquet(tmp_path / "clean.parquet")
    splits = {"train": {"cat": 7, "dog": 5}, "test": {"cat": 3, "dog": 2}}
    summary = {"dataset": "pets", "classes": ["cat", "dog"], "samples_per_class": splits}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    inputs = {"records": [tmp_path / "clean.parquet"], "summaries": [tmp_path / "summary.json"]}
    assert tables.class_balance(inputs).to_numpy().tolist() == [["pets", "cat", 7, 3], ["pets", "dog", 5, 2]]
    assert tables.class_accuracy(inputs, {"m": "pets"})["class"].tolist() == ["cat", "dog"]


def network(clean: pd.DataFrame) -> pd.DataFrame:
    return clean.assign(model="m", training="standard", preprocessor="none", precision="int8")


def test_the_headline_shows_percentages_with_intervals(records, clean):
    clean = network(clean)
    table = metrics.headline(metrics.clean_accuracy(clean), defenses(records), {"int8": "reference"})
    assert table.columns.tolist()[-4:] == ["clean samples", "clean", "attacked samples", "Linf 20/255"]
    assert table[["clean samples", "attacked samples"]].to_numpy().tolist() == [[5, 5]]
    assert table["clean"].tolist()[0].startswith("80.0 [")
    assert table["Linf 20/255"].tolist()[0].startswith("→ 40.0 ["), "no attack knew this network"


def test_the_headline_marks_what_no_attack_on_the_network_itself_has_met_and_what_is_masked(records, clean):
    clean, others = metrics.clean_accuracy(network(clean)), records.assign(source="int8", norm="l2", budget=np.nan)
    own = records.assign(source="int8", access="white_box")
    square = survived(own, [False] * 5, access="score", attack="square")
    both = pd.concat([own, square])
    repeated = pd.concat([both.assign(sample=both["sample"] + 5 * i) for i in range(4)])

    def cell(*attacks: pd.DataFrame) -> str:
        return metrics.headline(clean, defenses(pd.concat(attacks)), {"int8": "reference"})["Linf 20/255"].item()

    assert cell(records) == "→ 40.0 [11.8, 76.9]"
    assert cell(records, others).startswith("→ "), "in another norm nothing was looked for within the budget"
    assert cell(records, own) == "40.0 [11.8, 76.9]"
    assert cell(repeated).startswith("0.0 [")
    assert cell(repeated).endswith(", masked")


def test_the_headline_says_what_every_attack_leaves_of_the_samples_that_it_met(records, clean):
    clean = network(clean)
    costly = survived(records, [False] * 5, attack="costly").iloc[:2]
    table = metrics.headline(
        metrics.clean_accuracy(clean), defenses(pd.concat([records, costly])), {"int8": "reference"}
    )
    assert table["Linf 20/255"].tolist()[0].endswith("; 0.0 [0.0, 65.8] of 2")


def test_the_headline_says_where_a_budget_has_fewer_samples_than_another(records, clean):
    clean, larger = network(clean), records.iloc[:2].assign(budget=40 / 255, attack="costly")
    worst = defenses(pd.concat([records, larger]))
    (row,) = metrics.headline(metrics.clean_accuracy(clean), worst, {"int8": "reference"}).to_dict("records")
    assert row["attacked samples"] == 5
    assert row["Linf 20/255"] == "→ 40.0 [11.8, 76.9]"
    assert row["Linf 40/255"] == "→ 50.0 [9.5, 90.5] of 2"


def test_a_run_without_budgets_has_an_empty_worst_case_and_a_headline_all_the_same(records, clean, tmp_path):
    minimal = records.assign(budget=np.nan)
    defenses(minimal).to_csv(tmp_path / "defenses.csv", index=False)
    worst = pd.read_csv(tmp_path / "defenses.csv")
    assert worst.columns.tolist() == DEFENSES
    clean = network(clean)
    table = metrics.headline(metrics.clean_accuracy(clean), worst, {"int8": "reference"})
    assert table.columns.tolist()[-2:] == ["clean", "attacked samples"]
    assert len(table) == 1


def survived(records: pd.DataFrame, samples: list[bool], **columns: object) -> pd.DataFrame:
    """Return the records of another attack, with which samples stay right under it."""
    return records.assign(adversarial_correct=samples, **columns)


@pytest.fixture
def parts(records) -> pd.DataFrame:
    """Records of a target behind a preprocessor: all samples are right when clean, three survive the static attack."""
    base = records.assign(target_correct=True, preprocessor="bits", source="int8", linf=20 / 255)
    return pd.concat(
        [
            survived(base, [False, False, True, True, True], attack="pgd"),
            survived(base, [True, True, False, True, True], attack="pgd", source="float32"),
            survived(base, [False, False, False, False, True], attack="pgd_through", through="bits"),
        ],
        ignore_index=True,
    )


def by_part(table: pd.DataFrame, column: str = "accuracy") -> dict[str, float]:
    return table.set_index("part")[column].to_dict()


def test_a_defense_is_shown_under_every_part_of_the_attacks_and_under_all(parts):
    table = defenses(parts)
    expected = {"static": 3 / 5, "transfer": 4 / 5, "adaptive": 1 / 5, "worst": 1 / 5}
    assert by_part(table) == pytest.approx(expected)
    assert by_part(table, "attacks") == {"static": 1, "transfer": 1, "adaptive": 1, "worst": 3}
    assert worst_case(parts)["accuracy"].tolist() == pytest.approx([1 / 5])
    elsewhere = parts.assign(preprocessor="none")  # there, what the attack on the preprocessor finds counts by the way
    assert by_part(defenses(elsewhere)) == pytest.approx({"transfer": 4 / 5, "adaptive": 3 / 5, "worst": 1 / 5})
    assert by_part(defenses(elsewhere), "attacks")["worst"] == 2


def test_attacks_on_another_defense_take_no_samples_from_a_network(parts):
    few = parts[parts["attack"] == "pgd_through"].iloc[:2]
    bare = pd.concat([parts[parts["attack"] != "pgd_through"], few]).assign(preprocessor="none")
    alone = few.assign(preprocessor="none", budget=40 / 255)
    table = worst_case(pd.concat([bare, alone]))
    assert table[["samples", "samples_every_attack"]].to_numpy().tolist() == [[5, 5]]


def test_only_samples_that_every_part_met_are_counted(parts):
    fewer = parts[(parts["attack"] == "pgd") | parts["sample"].isin([3, 4])]
    assert by_part(defenses(fewer)) == pytest.approx({"static": 1, "transfer": 1, "adaptive": 1 / 2, "worst": 1 / 2})
    assert worst_case(fewer)[["samples", "accuracy"]].to_numpy().tolist() == [[2, 0.5]]


def test_samples_that_an_attack_did_not_meet_are_told_apart(records):
    """A weak attack on 40 samples leaves most of them, a strong one on 8 none."""
    weak, strong = many(records, 32), many(records, 0, attack="strong").iloc[:8]
    far = many(records, 0, attack="far", norm="l2", budget=np.nan, linf=40 / 255).iloc[:2]
    (row,) = worst_case(pd.concat([weak, strong, far])).to_dict("records")
    assert (row["samples"], row["accuracy"]) == (40, pytest.approx(24 / 40))
    assert (row["samples_every_attack"], row["accuracy_every_attack"]) == (8, 0)
    assert row["ci_high_every_attack"] < 0.4
    assert row["attacks"] == 2


def test_attacks_with_other_budgets_are_not_counted(records):
    free = many(records, 1, attack="free", budget=1.0, linf=0.9)
    assert worst_case(pd.concat([many(records, 5), free]))["attacks"].tolist() == [1]


def test_a_budget_at_which_a_part_was_not_run_does_without_it(parts):
    larger = parts[parts["attack"] == "pgd_through"].assign(budget=40 / 255, linf=40 / 255, adversarial_correct=False)
    table = defenses(pd.concat([parts, larger]))
    assert by_part(table[table["levels"] > 30]) == {"adaptive": 0.0, "worst": 0.0}


def many(records: pd.DataFrame, survivors: int, **columns: object) -> pd.DataFrame:
    """Return records of 40 samples, of which the first `survivors` stay right."""
    one = records.iloc[[0]].assign(target_correct=True, linf=20 / 255, source="int8")
    rows = pd.concat([one] * 40, ignore_index=True).assign(sample=range(40), **columns)
    return rows.assign(adversarial_correct=rows["sample"] < survivors)


@pytest.mark.parametrize(
    ("others", "masked"),
    [
        ({"access": "score"}, True),
        ({"source": "float32"}, True),
        ({"access": "white_box"}, False),  # a better attack of the same kind is no sign of masking
    ],
)
def test_gradients_are_masked_when_attacks_without_them_do_better(records, others, masked):
    better = many(records, 5, attack="b", **others)
    table = defenses(pd.concat([many(records, 30), better, many(records, 6, attack="c", source="int16")]))
    if not masked:
        assert not table["masked"].any()
        return
    assert table["masked"].all()
    assert table["reason"].str.contains(r"b from .*12.5 % against 75.0 %").all()
    close = defenses(pd.concat([many(records, 6), better]))
    assert not close["masked"].any(), "within the interval"


def test_many_attacks_that_together_find_more_are_no_sign_of_masking(records):
    transferred = [many(records, 40, attack="a", source=source) for source in ("float32", "int16")]
    for number, rows in enumerate(transferred):
        rows["adversarial_correct"] = rows["sample"] % 2 == number
    together = pd.concat([many(records, 20), *transferred])
    assert by_part(defenses(together)) == {"transfer": 0.0, "adaptive": 0.5, "worst": 0.0}
    assert not defenses(together)["masked"].any()


def test_the_more_attacks_there_are_the_more_one_of_them_has_to_find(records):
    """Seven of 40 samples are more than the paired interval of one comparison, and less than that of twelve."""
    better = [many(records, 30), many(records, 23, attack="b", access="score")]
    assert defenses(pd.concat(better))["masked"].all()
    others = [many(records, 30, attack=f"c_{number}", access="score") for number in range(11)]
    assert not defenses(pd.concat([*better, *others]))["masked"].any()


@pytest.mark.parametrize("elsewhere", [{"budget": 40 / 255}, {"budget": np.nan, "norm": "l2"}])
def test_what_white_box_attacks_did_not_look_for_is_no_sign_of_masking(records, elsewhere):
    """They were run with a larger budget only, or minimised another distance; the black-box attack has this budget."""
    white = many(records, 0, linf=40 / 255, **elsewhere)
    black = many(records, 5, attack="b", access="score")
    table = defenses(pd.concat([white, black]))
    near = table[np.isclose(table["budget"], 20 / 255)]
    assert by_part(near) == {"adaptive": 5 / 40, "worst": 5 / 40}
    assert near["masked"].isna().all()
    both = defenses(pd.concat([white, black, many(records, 30, attack="c")]))
    assert both.loc[np.isclose(both["budget"], 20 / 255), "masked"].all(), "here one has looked"


def test_gradients_are_masked_when_a_white_box_attack_without_bounds_fails(records):
    free = many(records, 1, attack="free", budget=1.0)
    table = defenses(pd.concat([many(records, 5), free]))
    assert table["budget"].unique() * 255 == pytest.approx([20]), "a budget without bounds is no threat model"
    assert (table["masked"].all(), table["reason"].iloc[0]) == (True, "a white-box attack without bounds leaves 2.5 %")
    table = defenses(pd.concat([many(records, 5), free.assign(adversarial_correct=False)]))
    assert not table["masked"].any()
    assert not worst_case(pd.concat([many(records, 5), free]))["budget"].eq(1).any()
    elsewhere = free.assign(source="float32", linf=0.9)
    assert not defenses(pd.concat([many(records, 5), elsewhere]))["masked"].any(), "its gradients are another network's"


def test_other_kernels_than_the_attack_asked_are_not_checked(records):
    """What an attack without bounds leaves there, after another rounding, says nothing about its gradients."""
    free = many(records, 1, attack="free", budget=1.0)
    rows = pd.concat([many(records, 30), many(records, 5, attack="b", access="score"), free])
    table = defenses(pd.concat([rows, rows.assign(kernels="xnnpack")]))
    assert table[table["kernels"] == "reference"]["masked"].all()
    assert table[table["kernels"] == "xnnpack"]["masked"].isna().all()
    assert set(table["kernels"]) == {"reference", "xnnpack"}


def test_what_was_not_checked_is_neither_masked_nor_cleared(records):
    assert defenses(records.assign(source="int8"))["masked"].isna().all()


@pytest.mark.parametrize(
    "aimed",
    [
        {"through": "squeezing"},  # with the gradients of the network and of a detector
        {"source_kernels": "xnnpack"},
    ],
)
def test_better_attacks_with_gradients_are_no_sign_of_masking(records, aimed):
    better = many(records, 5, attack="b", **aimed)
    assert not defenses(pd.concat([many(records, 30), better]))["masked"].any()


@pytest.mark.parametrize(
    "elsewhere", [{"budget": 40 / 255, "linf": 40 / 255}, {"budget": np.nan, "norm": "l2", "linf": 40 / 255}]
)
def test_an_attack_that_did_not_look_clears_nothing(records, elsewhere):
    other = many(records, 0, attack="b", access="score", **elsewhere)
    table = defenses(pd.concat([many(records, 30), other]))
    assert table.loc[np.isclose(table["budget"], 20 / 255), "masked"].isna().all()


def test_worst_cases_are_compared_sample_by_sample(records):
    """int8 loses five of 40 samples that float32 keeps; on the 10 that a second attack met, two more."""
    kernels = {"float32": "tensorflow", "int8": "reference"}
    pgd = [
        many(records, survivors, source=target, target=target, kernels=kernels[target])
        for target, survivors in (("float32", 30), ("int8", 25))
    ]
    second = [rows.iloc[:10].assign(attack="b", adversarial_correct=rows["sample"] > 1) for rows in pgd]
    second[0]["adversarial_correct"] = True
    other = [rows.assign(kernels="xnnpack", adversarial_correct=False) for rows in pgd[1:]]
    hardened = [rows.assign(training="hardened", adversarial_correct=rows["sample"] < 35) for rows in pgd]
    table = paired_worst_cases(pd.concat([*pgd, *second, *other, *hardened]), kernels)
    by = table.set_index(["compared", "training", "target", "counted"])
    shares = ["first", "second", "samples", "first_accuracy", "second_accuracy"]
    training = pgd[0]["training"].iloc[0]
    precisions = by.xs(("target", training), level=("compared", "training"))[shares]
    assert precisions.xs("all", level="counted").to_numpy().tolist() == [["float32", "int8", 40, 30 / 40, 23 / 40]]
    assert precisions.xs("every_attack", level="counted").to_numpy().tolist() == [["float32", "int8", 10, 1, 0.8]]
    trainings = by.xs(("training", "int8", "all"), level=("compared", "target", "counted"))
    assert trainings[shares].to_numpy().tolist() == [[training, "hardened", 40, 23 / 40, 35 / 40]]
    assert trainings["p_value"].item() == pytest.approx(2 * 0.5**12)
    assert set(table["compared"]) == {"target", "training"}
    none = paired_worst_cases(pgd[0].iloc[:0], kernels)
    assert none.empty
    assert [*none] == [*table]
