"""Mistakes in the configuration end in one line that names the place and the remedy."""

from __future__ import annotations

import copy

import pytest
from configuration_builder import (
    ENSEMBLE,
    VALID,
    WARM,
    both,
    change,
    loaded,
    modelled,
    own_files,
    remove,
    speech,
    static,
    through_likelihood,
    two_classes,
)

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks import figures
from qnn_robustness.configuration.checks.files import check_files

FOLDER = {"format": "image_folder", "image_shape": [8, 8, 1], "path": "folder/of/images"}
MISTAKES = {
    "name in capitals": (
        change("attacks.Spsa-Linf", {"method": "pgd", "norm": "linf", "budgets": ["1/255"]}),
        r"^attacks: 'Spsa-Linf' is not as expected: lower-case letters, digits and _, a letter first$",
    ),
    "nothing to run": (change("run", []), r"^run: \[\] is too short; expected at least 1$"),
    "shape without channels": (
        change("datasets.digits.image_shape", [8, 8]),
        r"^datasets\.digits\.image_shape: \[8, 8\] is too short; expected at least 3$",
    ),
    "split folders where there are none": (
        change("datasets.digits.split_folders", {"test": "test"}),
        r"^datasets\.digits\.split_folders: is for format: image_folder; give each split a data set of its own$",
    ),
    "checksum of another kind": (
        change("datasets.own", {"format": "image_folder", "archive": "a.zip", "checksum": "sha1:abc"}),
        r"^datasets\.own\.checksum: 'sha1:abc' is not as expected: sha256: or md5: and 64 or 32 lower-case hex digits$",
    ),
    "neither architecture nor files": (
        remove("models.small.architecture"),
        r"^models\.small: needs either an architect",
    ),
    "architecture that is none": (
        change("models.small.architecture", "float_network"),
        r"^qnn_robustness/models/float_network\.py: lacks build; CONTRIBUTING\.md says what it is$",
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
        r"^models\.own\.files\.float32: no/such\.keras: no such file or folder in /.*, where snakemake runs$",
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
    "nothing to attack": (own_files("int8"), r"^experiments\.audit: nothing is left .* \(float32\) .*; own has int8$"),
    "folder that is missing": (
        both(own_files("float32"), change("datasets.digits", FOLDER)),
        r"^datasets\.digits\.path: folder/of/images: no such folder$",
    ),
    "folder that is a file": (
        both(own_files("float32"), change("datasets.digits", {**FOLDER, "path": __file__})),
        r"^datasets\.digits\.path: /.*\.py: is a file; expected a folder$",
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
    "density model without validation samples": (
        modelled({"format": "digits", "image_shape": [8, 8, 1], "validation_samples": 0}),
        r"^experiments\.decision\.preprocessors: the training of the density model 'pixels' of 'bits' takes validation "
        r"samples, but 'large' has none; set datasets\.large\.validation_samples$",
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
    "figure of detectors without any": (
        change("experiments.white_box.figures", ["detection_roc"]),
        r"^experiments\.white_box\.figures: 'detection_roc' draws detectors, but no .* has any; set detectors$",
    ),
    "figure of a diagnosis without one": (
        change("experiments.white_box.figures", ["transfer_matrix", "boundary_distance"]),
        r"^experiments\.white_box\.figures: 'boundary_distance' draws a diagnosis, but .* has one; set diagnose: true$",
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
    "attack on a detector that the answers of a file alone would have to evade": (
        both(
            change("detectors", {"squeezing": {"squeezers": ["bits"]}}),
            change("experiments.decision.detectors", ["squeezing"]),
            change("attacks.jump.through", "squeezing"),
            change("attacks.jump.search_kernels", "xnnpack"),
        ),
        r"^attacks\.jump\.through: the detector 'squeezing' needs the integer model, but int8 of small is attacked "
        r"by the file's answers alone; set search_kernels: reference, or leave out the source$",
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
    "diagnosis by an attack through a preprocessor": (
        both(
            change("attacks.deepfool.through", "bits"),
            change("experiments.white_box.attacks", ["pgd"]),
            change("diagnostics", {"attacks": ["deepfool"]}),
        ),
        r"^diagnostics\.attacks\.0: 'deepfool' is crafted through 'bits', but the networks themselves are looked into",
    ),
    "diagnosis without attacks": (
        change("experiments.decision.diagnose", True),
        r"^diagnostics\.attacks: empty; name minimal-norm attacks, or set diagnose: false in the experiments",
    ),
    "diagnosis of a network that is only attacked behind a preprocessor": (
        both(
            change("diagnostics", {"attacks": ["deepfool"]}),
            change("run", ["decision"]),
            change("experiments.decision.diagnose", True),
            change("experiments.decision.preprocessors", ["bits"]),
        ),
        r"^experiments: none attacks \w+/standard, which is diagnosed, without a preprocessor in front; add none",
    ),
    "diagnosis with a perturbation beyond the range": (
        change("diagnostics", {"perturbation_sizes": ["1/255", 8]}),
        r"^diagnostics\.perturbation_sizes: a distance is not within \(0, 1\], the range of inputs",
    ),
    "randomised squeezer": (
        both(
            change("preprocessors.resize", {"method": "random_resize_pad"}),
            change("detectors", {"squeezing": {"squeezers": ["bits", "resize"]}}),
        ),
        r"^detectors\.squeezing\.squeezers: 'resize' is randomised; a detector compares outputs that are the same",
    ),
    "detector for a vote": (
        both(
            change("detectors", {"squeezing": {"squeezers": ["bits"]}}),
            change("experiments.decision.detectors", ["squeezing"]),
            change("experiments.decision.targets", ["vote"]),
        ),
        r"^experiments\.decision\.targets: a vote has no detector; add a precision, or leave out detectors",
    ),
    "validation split too small for a detector": (
        both(
            change("detectors", {"squeezing": {"squeezers": ["bits"], "false_positive_rate": 0.01}}),
            change("experiments.decision.detectors", ["squeezing"]),
            change("datasets.digits.validation_samples", 99),
        ),
        r"^experiments\.decision\.detectors: 'squeezing' is to reject 1 % of the validation samples of 'digits', of "
        r"which there are 99; set datasets\.digits\.validation_samples to 100 or more",
    ),
    "preprocessor of images for features": (
        both(
            speech({"attacks": {"pgd": "float", "deepfool": "float", "jump": "float"}}),
            change("trainings.hardened.flip", False),
            change("trainings.hardened.shift", 0),
            change("preprocessors.median", {"method": "median_smoothing"}),
            change("experiments.decision.preprocessors", ["none", "bits", "median"]),
            change("run", ["decision"]),
        ),
        r"^experiments\.decision\.preprocessors: 'median', which is for images, but the samples of '.*' are features",
    ),
    "JPEG of two channels": (
        both(
            change("datasets.digits.image_shape", [8, 8, 2]),
            change("preprocessors.jpeg", {"method": "jpeg"}),
            change("experiments.decision.preprocessors", ["none", "jpeg"]),
            change("run", ["decision"]),
        ),
        r"^experiments\.decision\.preprocessors: 'jpeg', which is for images of 1 or 3 channels, but those of 'digits' "
        r"have 2$",
    ),
    "training without validation samples": (
        change("datasets.digits.validation_samples", 0),
        r"^experiments\..*\.models: 'small' is trained here, which takes validation samples, but 'digits' has none; "
        r"set datasets\.digits\.validation_samples, or give the network by files$",
    ),
    "squeezer of images for features": (
        both(
            speech({"attacks": {"pgd": "float", "deepfool": "float", "jump": "float"}}),
            change("trainings.hardened.flip", False),
            change("trainings.hardened.shift", 0),
            change("preprocessors.median", {"method": "median_smoothing"}),
            change("detectors", {"squeezing": {"squeezers": ["median"]}}),
            change("experiments.decision.detectors", ["squeezing"]),
            change("run", ["decision"]),
        ),
        r"^experiments\.decision\.detectors: 'squeezing' asks 'median', which is for images, but the samples of",
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
    "attack through a detector by likelihood that does not evade it": (
        through_likelihood,
        r"^attacks\.pgd\.through: 'likelihood' asks how likely a sample is, .* take detector_aware_pgd",
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
        r"^trainings\.student\.parameters\.teacher: unknown training 'standart'; did you mean 'standard'\?",
    ),
    "teacher that is its own": (
        change("trainings.student", {"method": "defensive_distillation", "parameters": {"teacher": "student"}}),
        r"^trainings\.student\.parameters\.teacher: goes round in a circle \(student -> student\)",
    ),
    "static attack for more classes than there are": (
        both(two_classes({"method": "autoattack"}), static("few", ["person/standard"])),
        r"^trainings\.ensemble\.parameters\.static_attacks: 'few' does not fit 'person' \(data set 'vww'\): auto",
    ),
    "static attack on sound": (
        both(
            change("attacks.noise", {"method": "sound_pgd", "norm": "snr", "budgets": [30]}),
            static("noise", ["small/standard"]),
        ),
        r"^trainings\.ensemble\.parameters\.static_attacks: 'noise' attacks sound, but the samples of 'digits' are ima",
    ),
    "static attack of too few queries": (
        both(
            change("attacks.once", {"method": "square", "norm": "linf", "budgets": ["8/255"], "query_budget": 2}),
            static("once", ["small/standard"]),
        ),
        r"^attacks\.once\.query_budget: 2 is too few for square to change a sample; expected at least 3$",
    ),
    "static attack with several budgets": (
        change("trainings.ensemble", ENSEMBLE),
        r"^trainings\.ensemble\.parameters\.static_attacks: 'pgd' has to have one budget, one seed, lattice: uint8, ",
    ),
    "static attack on features": (
        both(
            speech({"attacks": {"pgd": "float", "deepfool": "float", "jump": "float"}}),
            change("trainings.hardened.flip", False),
            change("attacks.once", {"method": "pgd", "norm": "linf", "budgets": ["8/255"]}),
            change(
                "trainings.ensemble",
                {**ENSEMBLE, "flip": False, "parameters": {**ENSEMBLE["parameters"], "static_attacks": ["once"]}},
            ),
            change("experiments.white_box.trainings", ["ensemble"]),
        ),
        r"^trainings\.ensemble\.parameters\.static_attacks: make 8-bit images, but .* are features",
    ),
    "teacher that learned from samples of another data set": (
        both(
            change("datasets.large", {"format": "digits", "image_shape": [16, 16, 1]}),
            change("models.large", {"dataset": "large", "architecture": "small_cnn"}),
            change("attacks.once", {"method": "pgd", "norm": "linf", "budgets": ["8/255"]}),
            change(
                "trainings.teacher",
                {**ENSEMBLE, "parameters": {"sources": ["large/standard"], "static_attacks": ["once"]}},
            ),
            change("trainings.student", {"method": "defensive_distillation", "parameters": {"teacher": "teacher"}}),
            change("experiments.white_box.trainings", ["student"]),
        ),
        r"^trainings\.teacher\.parameters\.sources: large is not on digits, the data set of small; name a model",
    ),
    "static attack with several budgets in the change of a model": (
        both(
            change("attacks.once", {"method": "pgd", "norm": "linf", "budgets": ["8/255"]}),
            change("trainings.ensemble", ENSEMBLE),
            change("trainings.ensemble.parameters", {**ENSEMBLE["parameters"], "static_attacks": ["once"]}),
            change("models.small.recipes", {"ensemble": {"parameters": {"static_attacks": ["pgd"]}}}),
        ),
        r"^models\.small\.recipes\.ensemble\.parameters\.static_attacks: 'pgd' has to have one budget, one seed, ",
    ),
    "validation attack beyond the range": (
        change("trainings.hardened.validation_attack", {"epsilon": 8, "step_size": "1/255", "steps": 3}),
        r"^trainings\.hardened\.validation_attack\.epsilon: 8 is not within \(0, 1\], the range of inputs",
    ),
    "validation attack of nothing in the change of a model": (
        change(
            "models.small.recipes",
            {"hardened": {"validation_attack": {"epsilon": "1/255", "step_size": 0, "steps": 3}}},
        ),
        r"^models\.small\.recipes\.hardened\.validation_attack\.step_size: 0 is not within",
    ),
    "source of static samples that is given by files": (
        both(
            change("models.own", {"dataset": "digits", "files": {"float32": "own.keras"}, "output": "logits"}),
            change(
                "trainings.ensemble", {**ENSEMBLE, "parameters": {"sources": ["own/standard"], "static_attacks": []}}
            ),
            change("attacks.once", {"method": "pgd", "norm": "linf", "budgets": ["8/255"]}),
            change("trainings.ensemble.parameters.static_attacks", ["once"]),
        ),
        r"^trainings\.ensemble\.parameters\.sources: own is given by files; name a model that is trained here",
    ),
    "labels beside no teacher": (
        change("trainings.student", {"method": "defensive_distillation", "parameters": {"label_weight": 0.5}}),
        r"^trainings\.student\.parameters\.label_weight: there is no teacher beside whom labels could count",
    ),
    "teacher of another temperature": (
        both(
            change("trainings.teacher", {"method": "defensive_distillation", "parameters": {"temperature": 5}}),
            change("trainings.student", {"method": "defensive_distillation", "parameters": {"teacher": "teacher"}}),
        ),
        r"^trainings\.student\.parameters\.temperature: 20 is not that of the teacher 'teacher' \(5\); set the same",
    ),
    "temperature of a distillation below 1": (
        change("trainings.student", {"method": "defensive_distillation", "parameters": {"temperature": 0.5}}),
        r"^trainings\.student\.parameters\.temperature: 0\.5 is ",
    ),
    "fine-tuning from random weights": (
        change("trainings.tuned", {"method": "quantization_aware_adversarial"}),
        r"^trainings\.tuned\.initial: quantization_aware_adversarial fine-tunes; name the training to start from",
    ),
    "temperature of an attack without gradients": (
        change("attacks.jump.temperature", 20),
        r"^attacks\.jump\.temperature: hop_skip_jump uses no gradients; remove the key",
    ),
    "temperature of 0": (
        change("attacks.pgd.temperature", 0),
        r"^attacks\.pgd\.temperature: 0 is neither a positive number nor 'jacobian'$",
    ),
    "misspelt temperature": (
        change("attacks.pgd.temperature", "jacobain"),
        r"^attacks\.pgd\.temperature: 'jacobain' is neither a positive number nor 'jacobian'$",
    ),
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
    "budget beyond the range as a fraction": (
        change("attacks.pgd.budgets", ["256/255"]),
        r"^attacks\.pgd\.budgets\.0: 256/255 exceeds the range of inputs, \[0, 1\]; expected at most 1$",
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
        r"^experiments\.few\.attacks: 'few' does not fit 'person' \(data set 'vww'\): autoattack needs at least 4 "
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
    "teacher that is fine-tuned from its student": (
        both(
            change("trainings.student", {"method": "defensive_distillation", "parameters": {"teacher": "teacher"}}),
            change("trainings.teacher", {"method": "defensive_distillation", "initial": "student"}),
        ),
        r"^trainings\.student\.parameters\.teacher: goes round in a circle \(student -> teacher -> student\)",
    ),
    "unknown initial in the change of a model": (
        change("models.small.recipes", {"hardened": {"initial": "standart"}}),
        r"^models\.small\.recipes\.hardened\.initial: unknown training 'standart'; did you mean 'standard'\?",
    ),
    "temperature of a student in the change of a model": (
        both(
            change("trainings.teacher", {"method": "defensive_distillation"}),
            change("trainings.student", {"method": "defensive_distillation", "parameters": {"teacher": "teacher"}}),
            change("models.small.recipes", {"student": {"parameters": {"temperature": 5}}}),
        ),
        r"^models\.small\.recipes\.student\.parameters\.temperature: 5 is not that of the teacher 'teacher' \(20\)",
    ),
    "source of another data set in the change of a model": (
        both(
            change("datasets.large", {"format": "digits", "image_shape": [16, 16, 1]}),
            change("models.large", {"dataset": "large", "architecture": "small_cnn"}),
            change("attacks.once", {"method": "pgd", "norm": "linf", "budgets": ["8/255"]}),
            static("once", ["small/standard"]),
            change("models.small.recipes", {"ensemble": {"parameters": {"sources": ["large/standard"]}}}),
        ),
        r"^models\.small\.recipes\.ensemble\.parameters\.sources: large is not on digits, the data set of small",
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
    "8-bit levels for features that are diagnosed": (
        both(
            speech({"attacks": {"pgd": "float"}}),
            change("experiments.white_box.attacks", ["pgd"]),
            change("experiments.white_box.diagnose", True),
            change("diagnostics", {"attacks": ["deepfool"]}),
        ),
        r"^diagnostics\.attacks: 'deepfool' makes 8-bit images, .* features; set attacks\.deepfool\.lattice: float$",
    ),
    "two archives of one name": (
        change(
            "datasets.own",
            {
                "format": "svhn_mat",
                "image_shape": [32, 32, 3],
                "archives": {
                    "train": {"archive": "data.mat", "urls": ["http://a/train"], "checksum": f"md5:{0:032}"},
                    "test": {"archive": "data.mat", "urls": ["http://a/test"], "checksum": f"md5:{1:032}"},
                },
            },
        ),
        r"^datasets\.own\.archives: two files are named 'data\.mat'; give each its own name$",
    ),
    "nothing to calibrate with": (
        change("datasets.digits.calibration_samples", 0),
        r"^experiments\.white_box\.models: 'small' is quantized here, .* 'digits' has none; set datasets\.digits\.cal",
    ),
    "a warm start from a precision that is not there": (
        both(
            own_files("int8"),
            change("attacks.warm", WARM),
            change("experiments.audit", {"models": ["own"], "trainings": ["pretrained"], "attacks": ["warm"]}),
            change("experiments.audit.sources", ["int8"]),
        ),
        r"^experiments\.audit\.attacks: 'warm' begins at samples of float32, but own has int8 alone; leave it out$",
    ),
    "an attack on sound for images": (
        change("attacks.pgd", {"method": "sound_pgd", "norm": "snr", "budgets": [30], "lattice": "float"}),
        r"^experiments\.white_box\.attacks: 'pgd' attacks sound, but the samples of 'digits' are images$",
    ),
    "features that are mirrored": (
        speech({"attacks": {"pgd": "float", "deepfool": "float"}, "flip": True}),
        r"^experiments\.white_box\.trainings: 'standard' shifts or mirrors .* models\.small\.recipes\.standard: {s",
    ),
    "features that are mirrored by the training a network is fine-tuned from": (
        both(
            speech({"attacks": {"pgd": "float", "deepfool": "float"}, "flip": True}),
            change("experiments.white_box.trainings", ["hardened"]),
        ),
        r"^experiments\.white_box\.trainings: 'standard' shifts or mirrors .* models\.small\.recipes\.standard: {s",
    ),
    "features that are mirrored by the training of a teacher": (
        both(
            speech({"attacks": {"pgd": "float", "deepfool": "float"}}),
            change("trainings.teacher", {"method": "standard", "shift": 1}),
            change("trainings.student", {"method": "defensive_distillation", "parameters": {"teacher": "teacher"}}),
            change("experiments.white_box.trainings", ["student"]),
        ),
        r"^experiments\.white_box\.trainings: 'teacher' shifts or mirrors .* models\.small\.recipes\.teacher: {s",
    ),
    "NaN as a budget": (
        change("attacks.pgd.budgets", [float("nan")]),
        r"^attacks\.pgd\.budgets\.0: nan is no distance; expected a positive number or a fraction such as 8/255$",
    ),
    "infinity": (
        change("trainings.standard.learning_rate", float("inf")),
        r"^trainings\.standard\.learning_rate: inf is of the wrong type; expected number$",
    ),
    "number with a point that counts": (
        change("attacks.pgd.samples", 20.0),
        r"^attacks\.pgd\.samples: 20\.0 is of the wrong type; expected integer$",
    ),
    "yes or no that counts": (
        change("attacks.pgd.samples", True),
        r"^attacks\.pgd\.samples: True is of the wrong type; expected integer$",
    ),
    "seed that NumPy does not take": (
        change("seed", 2**32),
        r"^seed: 4294967296 is out of range; expected at most 4294967295$",
    ),
    "number as a key": (
        lambda values: values.update({1: 2}),
        r"^top level: the key 1 is no text; put it between quotes$",
    ),
    "key that YAML reads as true": (
        lambda values: values["attacks"].update({True: dict(values["attacks"]["pgd"])}),
        r"^attacks: the key True is no text; put it between quotes$",
    ),
    "training without a perturbation": (
        change("trainings.hardened.parameters", {"epsilon": 0}),
        r"^trainings\.hardened\.parameters\.epsilon: 0 is not within \(0, 1\], the range of inputs; expected",
    ),
    "levels for a share of the range": (
        change("trainings.hardened.parameters", {"epsilon": 8}),
        r"^trainings\.hardened\.parameters\.epsilon: 8 is not within \(0, 1\]",
    ),
    "budget of one query": (
        change("attacks.jump.query_budget", 1),
        r"^attacks\.jump\.query_budget: 1 is out of range; expected at least 2$",
    ),
    "too few queries for an attack": (
        both(
            change("attacks.few", {"method": "square", "norm": "linf", "budgets": ["8/255"], "query_budget": 2}),
            change("experiments.white_box.attacks", ["few"]),
        ),
        r"^attacks\.few\.query_budget: 2 is too few for square to change a sample; expected at least 3$",
    ),
    "too few queries for the draws of a preprocessor": (
        both(
            change("preprocessors.resize", {"method": "random_resize_pad"}),
            change("experiments.decision.preprocessors", ["none", "resize"]),
            change("attacks.jump", {**VALID["attacks"]["jump"], "through": "resize", "draws": 10, "query_budget": 19}),
        ),
        r"^attacks\.jump\.query_budget: 19 is too few for hop_skip_jump to change a sample; expected at least 20$",
    ),
    "attack spaces that fall": (
        change("attacks.jump", {"method": "zoo", "norm": "l2", "parameters": {"attack_spaces": [0, 8, 4]}}),
        r"^attacks\.jump\.parameters\.attack_spaces: \[0, 8, 4\] does not rise \(0 is the full size\); write "
        r"\[4, 8, 0\]$",
    ),
    "change of a value below half a level": (
        change("attacks.deepfool", {"method": "jsma", "norm": "l0", "parameters": {"theta": -0.0019}}),
        r"^attacks\.deepfool\.parameters\.theta: -0\.0019 is less than half an 8-bit level \(0\.5/255\); take a "
        r"larger change or set lattice: float$",
    ),
    "equal budgets written otherwise": (
        change("attacks.pgd.budgets", ["8/255", "16/510"]),
        r"^attacks\.pgd\.budgets\.1: 16/510 is there already, written otherwise; remove one$",
    ),
    "budget in L2 below one level": (
        both(change("attacks.pgd.norm", "l2"), change("attacks.pgd.budgets", [0.001])),
        r"^attacks\.pgd\.budgets\.0: 0\.001 is below one 8-bit level \(1/255\); raise it or set lattice: float$",
    ),
    "preprocessor named none": (
        change("preprocessors.none", {"method": "bit_depth"}),
        r"^preprocessors\.none: stands for samples as they are; give it another name$",
    ),
    "class named twice": (
        change("datasets.digits.classes", ["a", "a"]),
        r"^datasets\.digits\.classes: .*non-unique",
    ),
    "more samples than there are": (
        change("datasets.digits.test_samples", 100),
        r"^experiments\.white_box\.attacks: 'pgd' wants 1000 samples, but 'digits' has 100; set",
    ),
    "braces in a path": (
        both(own_files("float32"), change("datasets.digits", {**FOLDER, "path": "of {model}"})),
        r"^datasets\.digits\.path: of \{model\}: has braces, which Snakemake takes for a wildcard; rename it$",
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


@pytest.mark.parametrize("target", ["plot_defenses", "results/figures/defenses.svg"])
def test_a_figure_that_no_experiment_feeds_is_told(target: str) -> None:
    drawn = {"worst_case": {}, "clean_accuracy": {}}
    with pytest.raises(UserError, match=r"^figure 'defenses' .*, which has clean_accuracy, worst_case; name it under"):
        figures.check_asked({target}, drawn)
    with pytest.raises(UserError, match=r"this run, which has none; name it"):
        figures.check_asked({target}, {})
    figures.check_asked({target}, {"defenses"})
    figures.check_asked({"plot_worst_case", "plot_defences", "all"}, drawn)


def test_figures_of_tables_that_not_every_run_has_are_known() -> None:
    """Others draw tables of every run, or samples."""
    always = {"clean_accuracy", "cost_and_robustness", "defenses", "robust_accuracy", "worst_case"}
    tables = {name: registry.load("figures", name).TABLES for name in registry.names("figures")}
    assert {name for name, needed in tables.items() if not always.issuperset(needed)} == {
        *figures.OF_DETECTION,
        *figures.OF_DIAGNOSTICS,
    }
    assert {name for name, needed in tables.items() if any("detection" in table for table in needed)} == {
        *figures.OF_DETECTION
    }
