"""Defaults, grids and hashes of a configuration."""

from __future__ import annotations

import copy
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import configuration_builder
import pytest
from configuration_builder import (
    VALID,
    WARM,
    change,
    loaded,
    own_files,
    speech,
    two_classes,
)
from tflite_builder import save_unsupported

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks.files import missing_archives
from qnn_robustness.configuration.checks.integer_models import check_integer_models
from qnn_robustness.configuration.distance import parse_distance
from qnn_robustness.data.mirrors import MIRROR_VARIABLE
from qnn_robustness.data.registry import number_of_classes


def test_the_number_of_classes_comes_from_the_entry_its_source_or_its_format() -> None:
    entry = {"format": "image_folder", "source": None, "classes": None}
    assert number_of_classes(entry) is None
    assert number_of_classes({**entry, "source": "vww"}) == 2
    assert number_of_classes({**entry, "source": "vww", "classes": ["a", "b", "c"]}) == 3
    assert number_of_classes({"format": "digits"}) == 10


@pytest.mark.parametrize(
    ("attack", "asked"),
    [
        ({"method": "autoattack"}, True),
        ({"method": "autoattack_few_classes"}, True),
        ({"method": "apgd", "parameters": {"loss": "dlr"}}, True),
        ({"method": "apgd", "parameters": {"loss": "margin"}}, False),
        ({"method": "pgd"}, False),
    ],
)
def test_attacks_that_are_not_for_every_number_of_classes_ask_for_their_names(attack: dict, asked: bool) -> None:
    """Of images in folders the archive alone tells: the attack would end after the training otherwise."""
    values = copy.deepcopy(VALID)
    two_classes(attack)(values)
    own = {"archive": "own.zip", "checksum": f"sha256:{'0' * 64}"}
    values["datasets"]["vww"] = {"format": "image_folder", "image_shape": [96, 96, 3], **own}
    values["experiments"]["few"]["models"] = ["person"]
    if not asked:
        loaded(values)
        return
    line = (
        r"^datasets\.vww\.classes: null, but 'few' \(experiments\.few\.attacks\) is not for every number of classes; "
        r"name them$"
    )
    with pytest.raises(UserError, match=line):
        loaded(values)
    values["datasets"]["vww"]["classes"] = ["a", "b", "c", "d"]
    if attack["method"] != "autoattack_few_classes":
        loaded(values)
        values["datasets"]["vww"]["classes"] = ["a", "b"]
    with pytest.raises(UserError, match=r"'few' does not fit 'person' \(data set 'vww'\): .*, the network has [24];"):
        loaded(values)


def test_loading_leaves_the_given_values_alone() -> None:
    values = copy.deepcopy(VALID)
    loaded(values)
    assert values == VALID


def test_defaults_are_filled_in_also_those_of_parameters() -> None:
    configuration = loaded(copy.deepcopy(VALID))
    assert configuration.attack("pgd")["lattice"] == "uint8"
    assert configuration.attack("pgd")["parameters"]["restarts"] == 5
    assert configuration.recipe("small", "hardened")["parameters"]["epsilon"] == 8 / 255
    assert configuration.kernels("int8") == ["reference", "xnnpack"]


def test_the_grid_is_the_union_of_the_experiments_that_are_run() -> None:
    configuration = loaded(copy.deepcopy(VALID))
    assert set(configuration.networks()) == {("small", "standard"), ("small", "hardened")}
    white_box, decision = (configuration.evaluations(name) for name in VALID["run"])
    assert len(white_box) == 2 * 3
    assert len(decision) == 2 * 1 * 1 * 2 * 3
    assert configuration.figures() == ["transfer_matrix", "distortion"]
    assert configuration.feeding("transfer_matrix") == ["white_box", "decision"]
    assert configuration.feeding("defenses") == []
    clean = configuration.clean_evaluations()
    assert len(clean) == len(set(clean)) == 2 * 2 * 3


def test_a_model_of_sound_may_be_given_by_files_beside_one_that_is_trained() -> None:
    values = copy.deepcopy(VALID)
    own_files("int8")(values)
    speech({"attacks": dict.fromkeys(values["attacks"], "float")})(values)
    values["experiments"]["audit"] |= {"models": ["own", "small"], "trainings": ["pretrained", "standard"]}
    values["run"] = ["audit"]
    assert loaded(values).networks() == [("own", "pretrained"), ("small", "standard")]


def test_a_model_given_by_files_has_what_is_given_and_what_follows_from_float32() -> None:
    values = copy.deepcopy(VALID)
    own_files("int8")(values)
    values["experiments"]["audit"] |= {"models": ["own", "small"], "trainings": ["pretrained", "standard"]}
    values["experiments"]["audit"]["sources"] = ["float32", "int8"]
    configuration = loaded(values)
    assert configuration.networks() == [("own", "pretrained"), ("small", "standard")]
    assert configuration.trained_networks() == [("small", "standard")]
    own = [e for e in configuration.evaluations("audit") if e.model == "own"]
    assert [(e.training, e.source, e.target) for e in own] == [("pretrained", "int8", "int8")]
    assert len(configuration.evaluations("audit")) == 1 + 2 * 3
    assert [point[3] for point in configuration.clean_evaluations() if point[0] == "own"] == ["int8"]
    assert configuration.imports() == {"own/pretrained/int8": configuration_builder.__file__}
    (note,) = configuration.notes()
    assert note.startswith("own: float32 and int16 left out")

    own_files("float32", "int8")(values)
    configuration = loaded(values)
    assert configuration.precisions("own") == ("float32", "int16", "int8")
    assert configuration.notes() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["attacks"]["jump"].update(search_kernels="builtin"),
        lambda values: values["attacks"]["jump"].update(through="bits"),
        lambda values: values["experiments"]["decision"].update(trainings=["pretrained"]),
    ],
)
def test_an_overlay_may_leave_experiments_that_are_not_run_without_what_they_need(change: Callable) -> None:
    """An experiment of config.yaml is no business of a user who runs another one."""
    values = copy.deepcopy(VALID)
    values["experiments"]["decision"]["preprocessors"] = ["none"]
    change(values)
    with pytest.raises(UserError, match=r"^(attacks\.jump|experiments\.decision)\."):
        loaded(copy.deepcopy(values))
    loaded({**values, "run": ["white_box"]})


@pytest.mark.parametrize(
    ("attack", "kernels", "diagnose", "emulated"),
    [
        ("pgd", "xnnpack", False, True),
        ("jump", "reference", False, False),
        ("jump", "xnnpack", False, False),
        ("jump", "xnnpack", True, True),
    ],
)
def test_a_file_is_looked_into_where_the_integer_model_stands_for_it(
    tmp_path: Path, attack: str, kernels: str, diagnose: bool, emulated: bool
) -> None:
    values, network = copy.deepcopy(VALID), save_unsupported(tmp_path / "own.tflite")
    own_files(*(["float32"] if diagnose else []))(values)
    values["models"]["own"]["files"] |= dict.fromkeys(("int16", "int8") if diagnose else ("int8",), network)
    values["attacks"]["jump"]["search_kernels"] = kernels
    values["diagnostics"] = {"attacks": ["deepfool"]}
    values["experiments"]["audit"] |= {"sources": ["int8"], "attacks": [attack], "diagnose": diagnose}
    values["run"] = ["audit"]
    configuration = loaded(values)
    if not emulated:
        assert configuration.source_module("own", "int8", attack).endswith(".sources.tflite_file")
        return check_integer_models(configuration)
    line = (
        r"^models\.own\.files\.int(8|16): .*own\.tflite: operator 1 \(LOG_SOFTMAX\): is not supported; supported: ABS, "
    )
    with pytest.raises(UserError, match=line):
        check_integer_models(configuration)


def test_an_archive_that_is_nowhere_is_named_before_its_jobs_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    values = copy.deepcopy(VALID)
    folder = {
        "format": "image_folder",
        "image_shape": [8, 8, 1],
        "archive": "leaves.zip",
        "checksum": f"sha256:{0:064}",
    }
    values["datasets"]["digits"] = folder
    (note,) = missing_archives(loaded(values))
    assert note.startswith("digits: leaves.zip has no address and is in no mirror")
    (tmp_path / "leaves.zip").touch()
    assert missing_archives(loaded({**values, "mirrors": [str(tmp_path)]})) == []
    assert missing_archives(loaded({**values, "mirrors": ["https://example.org/data"]})) == []
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path))
    assert missing_archives(loaded(values)) == []
    monkeypatch.delenv(MIRROR_VARIABLE)
    values["datasets"]["digits"] = {**folder, "urls": ["https://example.org/leaves.zip"]}
    assert missing_archives(loaded(values)) == []


@pytest.mark.parametrize(
    ("training", "method", "given", "expected"),
    [
        ("standard", "trades", {"beta": 3}, {"epsilon": 8 / 255, "step_size": 2 / 255, "steps": 7, "beta": 3}),
        ("standard", "defensive_distillation", None, {"temperature": 20, "teacher": None, "label_weight": 0}),
        ("hardened", "trades", None, {"epsilon": 8 / 255, "step_size": 2 / 255, "steps": 7, "beta": 6}),
        ("hardened", "pgd_adversarial", {"steps": 3}, {"epsilon": 8 / 255, "step_size": 2 / 255, "steps": 3}),
        ("hardened", "standard", None, {}),
        ("hardened", "jacobian_regularization", None, {"weight": 0.01, "projections": 1, "scope": "network"}),
    ],
)
def test_another_method_for_a_model_has_its_defaults(training: str, method: str, given: dict, expected: dict) -> None:
    values = copy.deepcopy(VALID)
    values["models"]["small"]["recipes"] = {training: {"method": method, **({"parameters": given} if given else {})}}
    recipe = loaded(values).recipe("small", training)
    assert (recipe["method"], recipe["parameters"]) == (method, expected)


def test_undefended_are_networks_of_standard_training_alone() -> None:
    """Neither one that a model trains otherwise under this name, nor one that goes on from a hardened network."""
    values = copy.deepcopy(VALID)
    values["trainings"]["tuned"] = {**values["trainings"]["standard"], "initial": "hardened"}
    for experiment in values["experiments"].values():
        experiment["trainings"] = ["standard", "hardened", "tuned"]
    assert loaded(copy.deepcopy(values)).undefended() == ["small/standard"]
    values["models"]["small"]["recipes"] = {"standard": {"method": "trades"}}
    assert loaded(values).undefended() == []


def test_the_hash_of_a_recipe_covers_what_a_network_is_fine_tuned_from() -> None:
    before = loaded(copy.deepcopy(VALID))
    values = copy.deepcopy(VALID)
    values["trainings"]["standard"]["epochs"] = 7
    after = loaded(values)
    assert before.recipe_sha256("small", "hardened") != after.recipe_sha256("small", "hardened")
    values = copy.deepcopy(VALID)
    values["trainings"]["hardened"]["epochs"] = 7
    after = loaded(values)
    assert before.recipe_sha256("small", "standard") == after.recipe_sha256("small", "standard")
    assert before.recipe_sha256("small", "hardened") != after.recipe_sha256("small", "hardened")


def test_the_hash_of_a_recipe_covers_the_networks_and_attacks_that_it_uses() -> None:
    values = copy.deepcopy(VALID)
    values["attacks"]["once"] = {"method": "fgsm", "norm": "linf", "budgets": ["8/255"]}
    values["models"]["source"] = {"dataset": "digits", "architecture": "vgg_cifar"}
    used = {"sources": ["source/standard"], "static_attacks": ["once"]}
    values["trainings"] |= {
        "ensemble": {"method": "ensemble_adversarial", "parameters": used},
        "student": {"method": "defensive_distillation", "parameters": {"teacher": "hardened"}},
        "tuned": {"method": "standard", "initial": "ensemble"},
    }
    changes = {
        "source of another kind": change("models.source.architecture", "ds_cnn"),
        "stronger static attack": change("attacks.once.budgets", ["9/255"]),
        "another teacher": change("trainings.hardened.epochs", 7),
    }
    names = ("ensemble", "tuned", "student", "hardened")

    def hashes(values) -> dict[str, str]:
        configuration = loaded(values)
        return {name: configuration.recipe_sha256("small", name) for name in names}

    some = next(iter(values["experiments"].values()))
    values["experiments"]["small"] = {**some, "trainings": ["student", "ensemble"]}
    values["run"] = ["small"]
    kept = [*loaded(values).kept_networks()]
    assert kept == [("small", "student"), ("small", "ensemble"), ("small", "hardened"), ("source", "standard")]
    before = hashes(values)
    changed = {}
    for kind, apply in changes.items():
        other = copy.deepcopy(values)
        apply(other)
        changed[kind] = {name for name, new in hashes(other).items() if new != before[name]}
    assert changed == {
        "source of another kind": {"ensemble", "tuned"},
        "stronger static attack": {"ensemble", "tuned"},
        "another teacher": {"student", "hardened"},
    }
    assert loaded(values).static_samples("small", "ensemble") == [("source", "standard", "once")]


def test_optional_keys_change_the_hash_of_a_recipe_only_when_they_are_set() -> None:
    before = loaded(copy.deepcopy(VALID))
    assert "patience" not in before.lineage("small", "standard")[0]
    values = copy.deepcopy(VALID)
    values["trainings"]["standard"]["patience"] = 3
    assert loaded(values).recipe_sha256("small", "standard") != before.recipe_sha256("small", "standard")
    values["trainings"]["standard"]["patience"] = None
    assert loaded(values).recipe_sha256("small", "standard") == before.recipe_sha256("small", "standard")


@pytest.mark.parametrize(
    ("written", "exact"),
    [
        ("8/255", Fraction(8, 255)),
        ("0.5/255", Fraction(1, 510)),
        (0.1, Fraction(1, 10)),
        (1, Fraction(1)),
        (1e-4, Fraction(1, 10_000)),
    ],
)
def test_distances_are_parsed_exactly(written: str | float, exact: Fraction) -> None:
    assert parse_distance(written) == exact


def test_a_warm_start_takes_the_settings_of_the_attack_where_it_begins():
    values = copy.deepcopy(VALID)
    values["attacks"]["pgd"] |= {"samples": 7, "seeds": [3], "lattice": "float"}
    values["attacks"]["warm"] = WARM
    warm, start = (loaded(values).crafting(name) for name in ("warm", "pgd"))
    assert {key: warm[key] for key in ("budgets", "samples", "seeds", "lattice")} == {
        key: start[key] for key in ("budgets", "samples", "seeds", "lattice")
    }


def test_an_attack_that_knows_no_defense_does_not_depend_on_the_keys_for_those_that_do() -> None:
    configuration = loaded(copy.deepcopy(VALID))
    assert not {"through", "draws"} & set(configuration.crafting("pgd"))
    assert configuration.attack_columns("pgd")["through"] == "none"


@pytest.mark.parametrize(("method", "draws"), [("bit_depth", None), ("random_resize_pad", 7)])
def test_an_attack_through_a_defense_depends_on_its_parameters(method: str, draws: int | None) -> None:
    values = copy.deepcopy(VALID)
    values["preprocessors"]["front"] = {"method": method}
    values["attacks"]["adaptive"] = {**values["attacks"]["pgd"], "through": "front", "draws": 7}
    configuration = loaded(values)
    crafting = configuration.crafting("adaptive")
    assert crafting["through"] == [configuration.preprocessor("front")]
    assert crafting["through"][0]["parameters"], "with its defaults filled in"
    assert crafting.get("draws") == draws
    assert configuration.attack_columns("adaptive")["through"] == "front"


def test_networks_of_the_experiments_that_say_so_are_diagnosed() -> None:
    values = copy.deepcopy(VALID)
    values["diagnostics"] = {"attacks": ["deepfool"], "perturbation_sizes": ["0.5/255"]}
    assert loaded(values).diagnosed() == []
    values["experiments"]["decision"]["diagnose"] = True
    values["experiments"]["not_run"]["diagnose"] = True
    assert loaded(values).diagnosed() == [("small", "standard"), ("small", "hardened")]
    assert loaded(values).diagnostics["perturbation_sizes"] == [0.5 / 255]
    assert loaded(values).diagnostics["surface_radius"] == 8 / 255


def test_an_attack_through_a_detector_sees_the_network_and_its_squeezers() -> None:
    values = copy.deepcopy(VALID)
    values["detectors"] = {"squeezing": {"squeezers": ["bits"]}}
    values["attacks"]["aware"] = {**values["attacks"]["pgd"], "through": "squeezing"}
    values["experiments"]["white_box"]["attacks"] = ["aware"]
    with pytest.raises(UserError, match=r"white_box\.detectors: aware is crafted through 'squeezing'"):
        loaded(copy.deepcopy(values))
    values["experiments"]["white_box"]["detectors"] = ["squeezing"]
    configuration = loaded(values)
    assert configuration.fronts("aware") == ["none", "bits"]
    assert [entry["method"] for entry in configuration.crafting("aware")["through"]] == [None, "bit_depth"]
    assert "false_positive_rate" not in configuration.crafting("aware")
    values["attacks"]["aware"]["method"] = "detector_aware_pgd"
    values["detectors"]["squeezing"]["false_positive_rate"] = 0.1
    assert loaded(values).crafting("aware")["false_positive_rate"] == 0.1
    values["attacks"]["aware"] = {**values["attacks"]["jump"], "through": "squeezing"}
    assert loaded(copy.deepcopy(values)).crafting("aware")["false_positive_rate"] == 0.1
    values["attacks"]["aware"]["through"] = "bits"
    values["experiments"]["white_box"]["preprocessors"] = ["none", "bits"]
    assert "false_positive_rate" not in loaded(values).crafting("aware")
    (detection, *rest) = configuration.detections()
    assert detection == ("small", "standard", "float32", "aware", "squeezing", "float32")
    assert len(rest) == 2


def test_only_what_exists_is_attacked_evaluated_and_detected() -> None:
    values = copy.deepcopy(VALID)
    before = loaded(copy.deepcopy(values))
    own_files("int8")(values)
    values["experiments"]["audit"] |= {
        "models": ["own", "small"],
        "trainings": ["pretrained", "standard"],
        "sources": ["int8", "vote"],
        "targets": ["int8", "vote"],
    }
    values["detectors"] = {"squeezing": {"squeezers": ["bits"]}}
    values["experiments"]["audit"]["detectors"] = ["squeezing"]
    configuration = loaded(values)
    detections = {(d.model, d.training, d.source, d.target) for d in configuration.detections()}
    detected = {("small", "standard", source, "int8") for source in ("int8", "vote")}
    assert detections == {("own", "pretrained", "int8", "int8")} | detected
    evaluations = {(e.model, e.source, e.target) for e in configuration.evaluations("audit")}
    small = {("small", source, target) for source in ("int8", "vote") for target in ("int8", "vote")}
    assert evaluations == {("own", "int8", "int8")} | small
    assert configuration.kernels("vote") == ["tensorflow+reference+reference"]
    assert configuration.source_module("small", "vote", "pgd").endswith(".sources.vote")
    assert configuration.search_kernels("vote", "pgd") == configuration.compared_kernels["vote"]
    assert configuration.reported_kernels == before.reported_kernels == before.compared_kernels


@pytest.mark.parametrize(
    ("lattice", "beside", "counts"),
    [("uint8", [], True), ("float", [], True), ("float", ["deepfool"], False), ("float", ["jump_off"], True)],
)
def test_there_is_a_worst_case_where_samples_count_together(lattice: str, beside: list[str], counts: bool) -> None:
    """A model is counted on 8-bit images as soon as one attack on it, whichever its norm, makes these."""
    values = copy.deepcopy(VALID)
    values["run"] = ["white_box"]
    values["attacks"]["pgd"]["lattice"] = lattice
    values["attacks"]["jump_off"] = {**values["attacks"]["jump"], "lattice": "float"}
    values["experiments"]["white_box"]["attacks"] = ["pgd", *beside]
    assert loaded(values).has_worst_case() is counts
