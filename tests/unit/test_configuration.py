"""Mistakes in the configuration end in one line that names the place and the remedy; the grid is the union."""

from __future__ import annotations

import copy
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from tflite_builder import save_logistic

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks.files import check_files
from qnn_robustness.configuration.checks.operators import check_operators
from qnn_robustness.configuration.configuration import Configuration
from qnn_robustness.configuration.distance import parse_distance
from qnn_robustness.configuration.documentation import SCHEMA
from qnn_robustness.configuration.loading import load
from qnn_robustness.data.registry import number_of_classes

VALID: dict[str, Any] = {
    "run": ["white_box", "decision"],
    "datasets": {"digits": {"format": "digits", "image_shape": [8, 8, 1]}},
    "models": {"small": {"dataset": "digits", "architecture": "small_cnn"}},
    "trainings": {
        "standard": {"method": "standard"},
        "hardened": {"method": "pgd_adversarial", "initial": "standard"},
    },
    "attacks": {
        "pgd": {"method": "pgd", "norm": "linf", "budgets": ["1/255", "8/255"]},
        "deepfool": {"method": "deepfool", "norm": "l2"},
        "jump": {"method": "hop_skip_jump", "norm": "l2"},
    },
    "preprocessors": {"bits": {"method": "bit_depth"}},
    "experiments": {
        "white_box": {"models": ["small"], "attacks": ["pgd", "deepfool"], "figures": ["transfer_matrix"]},
        "decision": {
            "models": ["small"],
            "trainings": ["standard", "hardened"],
            "sources": ["int8"],
            "attacks": ["jump"],
            "preprocessors": ["none", "bits"],
            "figures": ["transfer_matrix", "distortion"],
        },
        "not_run": {"models": ["small"], "attacks": ["pgd"], "figures": ["defenses"]},
    },
}


ENSEMBLE = {
    "method": "ensemble_adversarial",
    "parameters": {"sources": ["small/standard"], "static_attacks": ["pgd"]},
}


def loaded(values: dict[str, Any]) -> Configuration:
    return load(values, SCHEMA)


def change(path: str, value: Any) -> Callable[[dict], None]:
    """Return a function that sets the key at `path` of a configuration."""

    def apply(values: dict) -> None:
        *parents, last = path.split(".")
        for name in parents:
            values = values[name]
        values[last] = value

    return apply


def remove(path: str) -> Callable[[dict], None]:
    def apply(values: dict) -> None:
        *parents, last = path.split(".")
        for name in parents:
            values = values[name]
        del values[last]

    return apply


def two_classes(attack: dict[str, Any]) -> Callable[[dict], None]:
    """Return a function that adds the attack to an experiment on a data set of two classes."""

    def apply(values: dict) -> None:
        values["datasets"]["vww"] = {"source": "vww", "format": "image_folder", "image_shape": [96, 96, 3]}
        values["models"]["person"] = {"dataset": "vww", "architecture": "small_cnn"}
        values["attacks"]["few"] = {"norm": "linf", "budgets": ["8/255"], **attack}
        values["experiments"]["not_run"] = {"models": ["small", "person"], "attacks": ["few"]}

    return apply


def modelled(dataset: dict[str, Any]) -> Callable[[dict], None]:
    """Return a function that lets the preprocessor use a density model of another data set."""

    def apply(values: dict) -> None:
        values["datasets"]["large"] = dataset
        values["densities"] = {"pixels": {"dataset": "large"}}
        values["preprocessors"]["bits"] = {"method": "pixel_defend", "parameters": {"density": "pixels"}}

    return apply


def through_likelihood(values: dict) -> None:
    values["densities"] = {"pixels": {"dataset": "digits"}}
    values["detectors"] = {"likelihood": {"density": "pixels"}}
    values["attacks"]["pgd"]["through"] = "likelihood"


WARM = {
    "method": "pgd",
    "norm": "linf",
    "warm_start": {"attack": "pgd", "source": "float32"},
    "parameters": {"restarts": 1},
}


def speech(settings: dict) -> Callable[[dict], None]:
    """Return a function that puts features of sound into the place of the digits."""

    def apply(values: dict) -> None:
        values["datasets"]["digits"] = {
            "format": "speech_commands",
            "source": "speech_commands",
            "image_shape": [49, 10, 1],
        }
        values["run"] = ["white_box"]
        values["trainings"]["standard"]["flip"] = settings.get("flip", False)
        for attack, lattice in settings.get("attacks", {}).items():
            values["attacks"][attack]["lattice"] = lattice

    return apply


def own_files(*precisions: str, **entry: Any) -> Callable[[dict], None]:
    """Return a function that adds a model given by files (this test's own file stands for each) and runs it."""

    def apply(values: dict) -> None:
        files = {precision: entry.pop("file", __file__) for precision in precisions}
        values["models"]["own"] = {"dataset": "digits", "files": files, **entry}
        values["experiments"]["audit"] = {"models": ["own"], "trainings": ["pretrained"], "attacks": ["pgd"]}
        values["run"] = ["audit"]

    return apply


def both(*changes: Callable[[dict], None]) -> Callable[[dict], None]:
    def apply(values: dict) -> None:
        for change in changes:
            change(values)

    return apply


FOLDER = {"format": "image_folder", "image_shape": [8, 8, 1], "path": "folder/of/images"}
MISTAKES = {
    "neither architecture nor files": (
        remove("models.small.architecture"),
        r"^models\.small: needs either an architect",
    ),
    "architecture and files": (
        own_files("int8", architecture="small_cnn"),
        r"^models\.own: needs either an architecture or files$",
    ),
    "input of an architecture": (
        change("models.small.input", {"range": [0, 255]}),
        r"^models\.small: input, labels and minimum_accuracy are for a model given by files$",
    ),
    "file that is missing": (
        own_files("float32", file="no/such.keras"),
        r"^models\.own\.files\.float32: no/such\.keras: no such file or folder$",
    ),
    "file of an unknown precision": (
        own_files("int4"),
        r"^models\.own\.files: unknown key 'int4'; did you mean 'int8'\?",
    ),
    "training of a model given by files": (
        both(own_files("float32"), change("experiments.audit.trainings", ["standard"])),
        r"^experiments\.audit\.trainings: own is given by files; write trainings: \[pretrained\]$",
    ),
    "pretrained without files": (
        change("experiments.white_box.trainings", ["pretrained"]),
        r"^experiments\.white_box\.trainings: small is trained here; write trainings: its recipes$",
    ),
    "recipe called pretrained": (
        change("trainings.pretrained", {"method": "standard"}),
        r"^trainings\.pretrained: stands for models given by files",
    ),
    "nothing to attack": (own_files("int8"), r"^experiments\.audit: nothing is left of it: .* source \(float32\)"),
    "folder that is missing": (
        both(own_files("float32"), change("datasets.digits", FOLDER)),
        r"^datasets\.digits\.path: folder/of/images: no such folder$",
    ),
    "folder and archive": (
        change("datasets.digits", {**FOLDER, "archive": "a.zip", "checksum": f"sha256:{'0' * 64}"}),
        r"^datasets\.digits\.path: is for format: image_folder or speech_commands without source and archive$",
    ),
    "unknown key at the top": (change("sed", 1), r"^top level: unknown key 'sed'; did you mean 'seed'\?"),
    "unknown key of an attack": (
        change("attacks.pgd.budget", ["8/255"]),
        r"^attacks\.pgd: unknown key 'budget'; did you mean 'budgets'\?",
    ),
    "missing key": (remove("attacks.pgd.norm"), r"^attacks\.pgd: the key 'norm' is missing"),
    "misspelt method": (
        change("attacks.pgd.method", "pgdd"),
        r"^attacks\.pgd\.method: unknown method 'pgdd'; did you mean 'pgd'\?",
    ),
    "misspelt parameter": (
        change("attacks.pgd.parameters", {"step": 3}),
        r"^attacks\.pgd\.parameters: unknown key 'step'; did you mean 'steps'\?",
    ),
    "misspelt experiment": (
        change("run", ["white_bok"]),
        r"^run\.0: unknown experiment 'white_bok'; did you mean 'white_box'\?",
    ),
    "misspelt attack": (
        change("experiments.white_box.attacks", ["pgf"]),
        r"^experiments\.white_box\.attacks: unknown attack 'pgf'; did you mean 'pgd'\?",
    ),
    "misspelt model": (
        change("experiments.white_box.models", ["smal"]),
        r"^experiments\.white_box\.models: unknown model 'smal'; did you mean 'small'\?",
    ),
    "misspelt training": (
        change("experiments.white_box.trainings", ["standart"]),
        r"^experiments\.white_box\.trainings: unknown training 'standart'; did you mean 'standard'\?",
    ),
    "density model of a misspelt data set": (
        change("densities", {"pixels": {"dataset": "digit"}}),
        r"^densities\.pixels\.dataset: unknown data set 'digit'; did you mean 'digits'\?",
    ),
    "density model of sound": (
        modelled({"format": "speech_commands", "source": "speech_commands", "image_shape": [49, 10, 1]}),
        r"^densities\.pixels\.dataset: the samples of 'large' are features; name a data set of images",
    ),
    "preprocessor of a misspelt density model": (
        change("preprocessors.bits", {"method": "pixel_defend", "parameters": {"density": "pixel"}}),
        r"^preprocessors\.bits\.parameters\.density: unknown density model 'pixel'",
    ),
    "density model of larger images": (
        modelled({"format": "digits", "image_shape": [16, 16, 1]}),
        r"^experiments\.decision\.preprocessors: the density model 'pixels' of 'bits' is of 'large', .* on 'digits'$",
    ),
    "misspelt preprocessor": (
        change("experiments.white_box.preprocessors", ["bit"]),
        r"^experiments\.white_box\.preprocessors: unknown preprocessor 'bit'; did you mean 'bits'\?",
    ),
    "unknown figure": (
        change("experiments.white_box.figures", ["transfer_matrx"]),
        r"^experiments\.white_box\.figures: unknown figure 'transfer_matrx'; did you mean 'transfer_matrix'\?",
    ),
    "what figures share is no figure": (
        change("experiments.white_box.figures", ["shared"]),
        r"^experiments\.white_box\.figures: unknown figure 'shared'",
    ),
    "attack through a misspelt preprocessor": (
        change("attacks.pgd.through", "bit"),
        r"^attacks\.pgd\.through: unknown preprocessor or detector 'bit'; did you mean 'bits'\?",
    ),
    "attack that evades a detector at another temperature": (
        both(
            change("detectors", {"squeezing": {"squeezers": ["bits"]}}),
            change(
                "attacks.pgd",
                {**VALID["attacks"]["pgd"], "method": "detector_aware_pgd", "through": "squeezing", "temperature": 20},
            ),
        ),
        r"^attacks\.pgd\.temperature: the detector scores the softmax at 1; remove the key",
    ),
    "attack that evades a detector, but none is named": (
        change("attacks.pgd.method", "detector_aware_pgd"),
        r"^attacks\.pgd\.through: detector_aware_pgd evades a detector; name one",
    ),
    "attack through a preprocessor that is not evaluated": (
        change("attacks.pgd.through", "bits"),
        r"^experiments\.white_box\.preprocessors: pgd is crafted through 'bits', which is not among them; add it",
    ),
    "diagnosis by an unknown attack": (
        change("diagnostics", {"attacks": ["deepfol"]}),
        r"^diagnostics\.attacks\.0: unknown attack 'deepfol'; did you mean 'deepfool'\?",
    ),
    "diagnosis by an attack with budgets": (
        change("diagnostics", {"attacks": ["deepfool", "pgd"]}),
        r"^diagnostics\.attacks\.1: 'pgd' is no minimal-norm attack with gradients; name one without budgets",
    ),
    "diagnosis by an attack without gradients": (
        change("diagnostics", {"attacks": ["jump"]}),
        r"^diagnostics\.attacks\.0: 'jump' is no minimal-norm attack with gradients",
    ),
    "diagnosis without attacks": (
        change("experiments.decision.diagnose", True),
        r"^diagnostics\.attacks: empty; name minimal-norm attacks, or set diagnose: false in the experiments",
    ),
    "diagnosis with a perturbation beyond the range": (
        change("diagnostics", {"perturbation_sizes": ["1/255", 8]}),
        r"^diagnostics\.perturbation_sizes: a distance is not within \(0, 1\], the range of inputs",
    ),
    "misspelt squeezer": (
        change("detectors", {"squeezing": {"squeezers": ["bit"]}}),
        r"^detectors\.squeezing\.squeezers: unknown preprocessor 'bit'; did you mean 'bits'\?",
    ),
    "detector and preprocessor of one name": (
        change("detectors", {"bits": {"squeezers": ["bits"]}}),
        r"^detectors\.bits: is the name of a preprocessor, too; rename one of them",
    ),
    "detector of two kinds": (
        change("detectors", {"both": {"squeezers": ["bits"], "density": "pixels"}}),
        r"^detectors\.both: needs either squeezers or a density model",
    ),
    "detector of no kind": (
        change("detectors", {"nothing": {}}),
        r"^detectors\.nothing: needs either squeezers or a density model",
    ),
    "misspelt density model of a detector": (
        change("detectors", {"likelihood": {"density": "pixel"}}),
        r"^detectors\.likelihood\.density: unknown density model 'pixel'",
    ),
    "attack through a detector by likelihood": (
        through_likelihood,
        r"^attacks\.pgd\.through: 'likelihood' asks how likely a sample is",
    ),
    "unknown detector": (
        change("experiments.decision.detectors", ["squeezing"]),
        r"^experiments\.decision\.detectors: unknown detector 'squeezing'",
    ),
    "unknown architecture": (
        change("models.small.architecture", "small_cn"),
        r"^models\.small\.architecture: unknown architecture 'small_cn'; did you mean 'small_cnn'\?",
    ),
    "unknown data set": (
        change("models.small.dataset", "digit"),
        r"^models\.small\.dataset: unknown data set 'digit'; did you mean 'digits'\?",
    ),
    "unknown target": (
        change("experiments.white_box.targets", ["int9"]),
        r"^experiments\.white_box\.targets\.0: 'int9' is not known; did you mean 'int8'\?",
    ),
    "text for a number": (
        change("attacks.pgd.samples", "many"),
        r"^attacks\.pgd\.samples: 'many' is of the wrong type; expected integer",
    ),
    "nothing for a mapping": (change("models", None), r"^models: null is of the wrong type; expected mapping"),
    "text for a list": (change("run", "white_box"), r"^run: 'white_box' is of the wrong type; expected list"),
    "number for a mapping": (
        change("attacks.pgd.parameters", 3),
        r"^attacks\.pgd\.parameters: 3 is of the wrong type; expected mapping",
    ),
    "text for a parameter": (
        change("attacks.pgd.parameters", {"steps": "3"}),
        r"^attacks\.pgd\.parameters\.steps: '3' is of the wrong type; expected integer",
    ),
    "parameter out of range": (
        change("attacks.pgd.parameters", {"steps": 0}),
        r"^attacks\.pgd\.parameters\.steps: 0 is out of range; expected at least 1",
    ),
    "warm start of a method that has none": (
        change("attacks.deepfool.warm_start", {"attack": "pgd", "source": "float32"}),
        r"^attacks\.deepfool\.warm_start: deepfool cannot begin at given samples; pgd can",
    ),
    "warm start with restarts": (
        change("attacks.warm", {**WARM, "parameters": {"restarts": 2}}),
        r"^attacks\.warm\.warm_start: every restart would begin at the same samples; set parameters\.restarts: 1",
    ),
    "warm start with budgets of its own": (
        change("attacks.warm", {**WARM, "budgets": ["8/255"]}),
        r"^attacks\.warm\.budgets: it is that of pgd, where the attack begins; remove the key",
    ),
    "warm start in another norm": (
        change("attacks.warm", {**WARM, "norm": "l2"}),
        r"^attacks\.warm\.warm_start\.attack: pgd has to have norm l2 and no warm start itself",
    ),
    "warm start at itself": (
        change("attacks.warm", {**WARM, "warm_start": {"attack": "warm", "source": "float32"}}),
        r"^attacks\.warm\.warm_start\.attack: warm has to have norm linf and no warm start itself",
    ),
    "warm start of an unknown attack": (
        change("attacks.warm", {**WARM, "warm_start": {"attack": "pdg", "source": "float32"}}),
        r"^attacks\.warm\.warm_start\.attack: unknown attack 'pdg'; did you mean 'pgd'\?",
    ),
    "teacher that is not known": (
        change("trainings.student", {"method": "defensive_distillation", "parameters": {"teacher": "standart"}}),
        r"^trainings\.student\.parameters: unknown training 'standart'; did you mean 'standard'\?",
    ),
    "teacher that is its own": (
        change("trainings.student", {"method": "defensive_distillation", "parameters": {"teacher": "student"}}),
        r"^trainings\.student\.parameters: goes round in a circle \(student -> student\)",
    ),
    "static attack with several budgets": (
        change("trainings.ensemble", ENSEMBLE),
        r"^trainings\.ensemble\.parameters\.static_attacks: 'pgd' has to have one budget, one seed, lattice: uint8, ",
    ),
    "fine-tuning from random weights": (
        change("trainings.tuned", {"method": "quantization_aware_adversarial"}),
        r"^trainings\.tuned\.initial: quantization_aware_adversarial fine-tunes; name the training to start from",
    ),
    "temperature of an attack without gradients": (
        change("attacks.jump.temperature", 20),
        r"^attacks\.jump\.temperature: hop_skip_jump uses no gradients; remove the key",
    ),
    "temperature of 0": (change("attacks.pgd.temperature", 0), r"^attacks\.pgd\.temperature: 0 is "),
    "estimator for float32": (
        change("attacks.pgd.estimator", "smooth"),
        r"^attacks\.pgd\.estimator: the gradients of float32 need none; experiments\.white_box may use it with "
        r"sources int8, int16 only",
    ),
    "budget of 0": (
        change("attacks.pgd.budgets", ["1/255", 0]),
        r"^attacks\.pgd\.budgets\.1: 0 is no distance; expected more than 0",
    ),
    "budget of 0 as a fraction": (
        change("attacks.pgd.budgets", ["0/255"]),
        r"^attacks\.pgd\.budgets\.0: 0/255 is no distance; expected more than 0",
    ),
    "budget that is no number": (
        change("attacks.pgd.budgets", ["8 / 255"]),
        r"^attacks\.pgd\.budgets\.0: '8 / 255' is no distance; expected .* a fraction such as 8/255",
    ),
    "budget in levels": (
        change("attacks.pgd.budgets", [8]),
        r"^attacks\.pgd\.budgets\.0: 8 exceeds the range of inputs, \[0, 1\]; did you mean 8/255\?",
    ),
    "budget below one level": (
        change("attacks.pgd.budgets", [0.002]),
        r"^attacks\.pgd\.budgets\.0: 0\.002 is below one 8-bit level \(1/255\); raise it or set lattice: float",
    ),
    "budget of an attack that minimises": (
        change("attacks.deepfool.budgets", ["8/255"]),
        r"^attacks\.deepfool\.budgets: deepfool .* takes no budget; remove the key",
    ),
    "no budgets": (
        remove("attacks.pgd.budgets"),
        r"^attacks\.pgd: pgd needs budgets, for example \[8/255\]",
    ),
    "norm that an attack lacks": (
        change("attacks.jump.norm", "l1"),
        r"^attacks\.jump\.norm: hop_skip_jump has no 'l1'; known: ",
    ),
    "query budget with gradients": (
        change("attacks.pgd.query_budget", 100),
        r"^attacks\.pgd\.query_budget: pgd uses gradients",
    ),
    "XNNPACK for int16": (
        change("kernels", {"int16": ["xnnpack"]}),
        r"^kernels\.int16\.0: 'xnnpack' is not known; (did you mean|known: builtin, reference)",
    ),
    "search kernels that are not evaluated": (
        change("attacks.jump.search_kernels", "builtin"),
        r"^attacks\.jump\.search_kernels: 'builtin' is not among .*kernels\.int8: reference, xnnpack",
    ),
    "AutoAttack on two classes": (
        two_classes({"method": "autoattack"}),
        r"^experiments\.not_run\.attacks: 'few' does not fit 'person' \(data set 'vww'\): autoattack needs at least 4 "
        r"classes, the network has 2; use autoattack_few_classes$",
    ),
    "difference of logits ratio on two classes": (
        two_classes({"method": "apgd", "parameters": {"loss": "dlr"}}),
        r"'few' does not fit 'person' .*: loss 'dlr' needs at least 3 classes, the network has 2; use 'margin'",
    ),
    "AutoAttack for few classes on many": (
        change("attacks.pgd.method", "autoattack_few_classes"),
        r"^experiments\.white_box\.attacks: 'pgd' does not fit 'small' \(data set 'digits'\): .* use autoattack$",
    ),
    "circular initial": (
        change("trainings.standard.initial", "hardened"),
        r"^trainings\.standard\.initial: goes round in a circle \(standard -> hardened -> standard\)",
    ),
    "training that starts from itself": (
        change("trainings.standard.initial", "standard"),
        r"^trainings\.standard\.initial: goes round in a circle \(standard -> standard\)",
    ),
    "unknown initial": (
        change("trainings.hardened.initial", "standart"),
        r"^trainings\.hardened\.initial: unknown training 'standart'; did you mean 'standard'\?",
    ),
    "recipe of an unknown training": (
        change("models.small.recipes", {"standart": {"epochs": 1}}),
        r"^models\.small\.recipes: unknown training 'standart'; did you mean 'standard'\?",
    ),
    "archive without a checksum": (
        change("datasets.digits", {"format": "image_folder", "image_shape": [8, 8, 1], "archive": "a.zip"}),
        r"^datasets\.digits: archive 'a\.zip' has no checksum; add checksum: sha256:",
    ),
    "one of several files without a checksum": (
        change(
            "datasets.digits",
            {"format": "svhn_mat", "image_shape": [32, 32, 3], "archives": {"test": {"archive": "test.mat"}}},
        ),
        r"^datasets\.digits: archive 'test\.mat' has no checksum; add checksum: sha256:",
    ),
    "several files for a format of one": (
        change(
            "datasets.digits",
            {"format": "image_folder", "image_shape": [8, 8, 1], "archives": {"test": {"archive": "test.zip"}}},
        ),
        r"^datasets\.digits\.archives: the format 'image_folder' reads one file; write archive, checksum",
    ),
    "misspelt part of several files": (
        change(
            "datasets.digits",
            {"format": "svhn_mat", "image_shape": [32, 32, 3], "archives": {"tests": {"archive": "test.mat"}}},
        ),
        r"^datasets\.digits\.archives: unknown key 'tests'; did you mean 'test'\?",
    ),
    "8-bit levels for features": (
        speech({}),
        r"^experiments\.white_box\.attacks: 'pgd' makes 8-bit images, .* features; set attacks\.pgd\.lattice: float$",
    ),
    "an attack on sound for images": (
        change("attacks.pgd", {"method": "sound_pgd", "norm": "snr", "budgets": [30], "lattice": "float"}),
        r"^experiments\.white_box\.attacks: 'pgd' attacks sound, but the samples of 'digits' are images$",
    ),
    "features that are mirrored": (
        speech({"attacks": {"pgd": "float", "deepfool": "float"}, "flip": True}),
        r"^experiments\.white_box\.trainings: 'standard' shifts or mirrors .* models\.small\.recipes\.standard: {s",
    ),
    "no archive": (
        change("datasets.digits", {"format": "image_folder", "image_shape": [8, 8, 1]}),
        r"^datasets\.digits: no archive; name one of the registry \(source\)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line_with_place_and_remedy(mistake: str) -> None:
    values = copy.deepcopy(VALID)
    apply, message = MISTAKES[mistake]
    apply(values)
    with pytest.raises(UserError, match=message) as caught:
        check_files(loaded(values))
    assert "\n" not in str(caught.value)


def test_the_number_of_classes_comes_from_the_entry_its_source_or_its_format() -> None:
    entry = {"format": "image_folder", "source": None, "classes": None}
    assert number_of_classes(entry) is None
    assert number_of_classes({**entry, "source": "vww"}) == 2
    assert number_of_classes({**entry, "source": "vww", "classes": ["a", "b", "c"]}) == 3
    assert number_of_classes({"format": "digits"}) == 10


def test_attacks_that_need_more_classes_pass_where_the_number_is_unknown() -> None:
    values = copy.deepcopy(VALID)
    two_classes({"method": "autoattack"})(values)
    own = {"archive": "own.zip", "checksum": f"sha256:{'0' * 64}"}
    values["datasets"]["vww"] = {"format": "image_folder", "image_shape": [96, 96, 3], **own}
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
    assert configuration.imports() == {"own/pretrained/int8": __file__}
    (note,) = configuration.notes()
    assert note.startswith("own: float32 and int16 left out")

    own_files("float32", "int8")(values)
    configuration = loaded(values)
    assert configuration.precisions("own") == ("float32", "int16", "int8")
    assert configuration.notes() == []


@pytest.mark.parametrize(
    ("attack", "kernels", "diagnose", "emulated"),
    [
        ("pgd", "xnnpack", False, True),
        ("jump", "reference", False, True),
        ("jump", "xnnpack", False, False),
        ("jump", "xnnpack", True, True),
    ],
)
def test_a_file_is_looked_into_where_the_integer_model_stands_for_it(
    tmp_path: Path, attack: str, kernels: str, diagnose: bool, emulated: bool
) -> None:
    values, network = copy.deepcopy(VALID), save_logistic(tmp_path / "own.tflite")
    own_files(*(["float32"] if diagnose else []))(values)
    values["models"]["own"]["files"] |= dict.fromkeys(("int16", "int8") if diagnose else ("int8",), network)
    values["attacks"]["jump"]["search_kernels"] = kernels
    values["diagnostics"] = {"attacks": ["deepfool"]}
    values["experiments"]["audit"] |= {"sources": ["int8"], "attacks": [attack], "diagnose": diagnose}
    values["run"] = ["audit"]
    configuration = loaded(values)
    if not emulated:
        return check_operators(configuration)
    line = r"^models\.own\.files\.int(8|16): .*own\.tflite: operator 1 \(LOGISTIC\): is not supported; supported: ADD, "
    with pytest.raises(UserError, match=line):
        check_operators(configuration)


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
    assert configuration.source_module("vote", "pgd").endswith(".sources.vote")
    assert configuration.search_kernels("vote", "pgd") == configuration.compared_kernels["vote"]
    assert configuration.reported_kernels == before.reported_kernels == before.compared_kernels
