"""What docs/attacks.md says about calling attacks from Python."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import eagerpy as ep
import foolbox
import numpy as np
import pytest
from attack_models import aimed, linear, native
from foolbox.attacks.base import Attack

from qnn_robustness.attacks.crafting.streams import SampleStreams
from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks.methods import complete_method
from qnn_robustness.configuration.documentation import SCHEMA
from qnn_robustness.configuration.schema import load_schema

ROOT = Path(__file__).resolve().parents[2]
METHODS = {name: registry.load("attacks", name) for name in registry.names("attacks")}
# The attack on sound is called with clips.
NAMES = [name for name, method in METHODS.items() if not getattr(method, "OF_SOUND", False)]
FEW = dict(steps=8, binary_search_steps=2, queries=200, coordinates=8, initial_draws=50, initial_gradient_eval_steps=20)
# They look for a misclassification of any kind.
WITHOUT_TARGET = ("apgd", "autoattack", "autoattack_few_classes", "deepfool", "detector_aware_pgd", "fab", "fgsm")
# They move whatever they are given, as Foolbox's do; crafting keeps what is misclassified from those that minimise.
OF_FOOLBOX = ("boundary", "brendel_bethge", "fgsm", "mi_fgsm", "pgd")


def built(name: str, norm: str, **parameters: object) -> Attack:
    """Return an attack with the parameters of the schema, but few steps."""
    entry = {"method": name, "parameters": {}}
    complete_method(load_schema(SCHEMA), "attacks", entry, "attacks.built")
    few = {key: value for key, value in FEW.items() if key in entry["parameters"]}
    return METHODS[name].build(norm, **{**entry["parameters"], **few, **parameters})


def called(attack: Attack, name: str, model: foolbox.Model, samples: np.ndarray, criterion: object) -> np.ndarray:
    budget = 0.1 if METHODS[name].BUDGETED else None
    with SampleStreams(1, range(len(samples)), samples.shape[1:]).serving_eagerpy():
        return ep.astensor(attack(model, native(model, samples), criterion, epsilons=budget)[1]).numpy()


def test_the_example_runs_as_it_stands() -> None:
    page = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) > 0.9, "random images lie next to the boundary"


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS[name].ACCESS == "white_box"])
def test_an_attack_that_needs_gradients_says_so_of_a_model_without(name: str) -> None:
    problem = linear(0, samples=3, shape=(2, 2, 1), classes=5)
    needs = f"{name} needs gradients, .*; boundary, geoda, hop_skip_jump, square, zoo need none$"
    for norm in METHODS[name].NORMS:
        with pytest.raises(UserError, match=f"^{needs}"):
            called(built(name, norm), name, problem.numpy_model(), problem.samples, problem.labels)


def test_an_attack_that_needs_gradients_wants_tensors() -> None:
    problem = linear(0, samples=3, shape=(2, 2, 1), classes=5)
    attack, criterion = built("apgd", "linf"), foolbox.criteria.Misclassification(problem.labels)
    with pytest.raises(UserError, match=r"inputs that are tensors .*, not arrays \(TensorFlowModel\)"):
        attack(problem.tensorflow_model(), problem.samples, criterion, epsilons=0.1)


@pytest.mark.parametrize("target", [5, -1])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_TARGET])
def test_a_target_that_is_no_class_of_the_model_is_named(name: str, target: int) -> None:
    problem = linear(0, samples=3, shape=(4, 4, 1), classes=5)
    model = problem.tensorflow_model() if METHODS[name].ACCESS == "white_box" else problem.numpy_model()
    targets = (problem.labels + 1) % 5
    targets[1] = target
    for norm in METHODS[name].NORMS:
        with pytest.raises(ValueError, match=f"^target class {target} is none of the model's: 0 to 4$"):
            called(built(name, norm), name, model, problem.samples, aimed(model, targets))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OF_FOOLBOX])
def test_a_sample_that_is_misclassified_when_clean_comes_back_as_it_is(name: str) -> None:
    """Up to rounding: some attacks go to and fro between variables."""
    classes = 3 if name == "autoattack_few_classes" else 5
    problem = linear(0, samples=24, shape=(4, 4, 1), classes=classes, margin=0.3)
    samples = problem.samples[problem.labels < classes - 1]  # the last class is rejection to detector_aware_pgd
    right = problem.logits(samples).argmax(axis=1)
    wrong = np.arange(len(samples)) % 2 == 1
    labels = np.where(wrong, (right + 1) % (classes - 1), right)
    model = problem.tensorflow_model() if METHODS[name].ACCESS == "white_box" else problem.numpy_model()
    for norm in METHODS[name].NORMS:
        attack = built(name, norm, **({"attack_spaces": [2], "difference": 32 / 255} if name == "zoo" else {}))
        found = called(attack, name, model, samples, foolbox.criteria.Misclassification(native(model, labels)))
        np.testing.assert_allclose(found[wrong], samples[wrong], rtol=0, atol=1e-6)
