"""From a recipe and data to a trained network on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from qnn_robustness.common import registry
from qnn_robustness.common.calls import flat_calls
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import atomic_path, read_arrays, write_text
from qnn_robustness.data.splits import Split
from qnn_robustness.models.float_network import load_network
from qnn_robustness.training.fitting.epochs import make_deterministic
from qnn_robustness.training.fitting.fit import fit
from qnn_robustness.training.fitting.objective import Material
from qnn_robustness.training.fitting.resume import ResumeFile

FITTING = (
    "epochs",
    "batch_size",
    "learning_rate",
    "momentum",
    "warmup_epochs",
    "shift",
    "flip",
    "patience",
    "validation_attack",
)
PROBABILITIES = (keras.activations.softmax, keras.activations.sigmoid)
INPUTS = ("teacher", "sources", "static_attacks")  # parameters which name files: the method is given what these hold


def train_network(
    train: Split,
    validation: Split,
    *,
    architecture: str,
    recipe: dict[str, Any],
    seed: int,
    network_path: str | Path,
    history_path: str | Path,
    resume: ResumeFile,
    initial: str | None = None,
    teacher: str | None = None,
    static: Sequence[str] = (),
) -> None:
    """Build or load the network, train it by `recipe`, and write it (.keras) and its history (.csv).

    `initial` and `teacher` are networks (.keras), `static` files of adversarial training samples (.npz), as many for
    each of the recipe's `sources`, one source after the other. A training that was interrupted continues from
    `resume`, which is removed at the end.

    Raises UserError when there is no sample to train with, or none of validation to choose the checkpoint by.
    """
    if not len(train.labels):
        raise UserError("the training split is empty; give the data set training images, or the network by files")
    if not len(validation.labels):
        raise UserError("the validation split is empty; set validation_samples of the data set")
    make_deterministic(seed)
    classes = int(train.labels.max()) + 1
    network = load_network(initial) if initial else built(architecture, train.samples.shape[1:], classes)
    versions, sources = [read_arrays(path)["adversarial"] for path in static], recipe["parameters"].get("sources", [])
    each = len(versions) // max(len(sources), 1)
    groups = [versions[place * each : (place + 1) * each] for place in range(len(sources))]
    material = Material(seed, train, load_network(teacher) if teacher else None, groups)
    parameters = {name: value for name, value in recipe["parameters"].items() if name not in INPUTS}
    objective = registry.load("training", recipe["method"]).objective(network, material, **parameters)
    history = fit(objective, validation, resume, **{name: recipe[name] for name in FITTING})
    with atomic_path(network_path) as partial:
        network.save(partial)
    write_text(history_path, history.to_csv(index=False))
    resume.remove()


def built(architecture: str, shape: tuple[int, ...], classes: int) -> keras.Model:
    """Return the untrained network of an architecture.

    Raises UserError, with one line, when it is none for the data, gives no logits, or could not be loaded by the jobs
    that take it from its file: they run no code of it, and do not know layers that its module defines.
    """
    module, place = registry.load("models", architecture), f"qnn_robustness/models/{architecture}.py"
    network = module.build(shape, classes)
    if not isinstance(network, keras.Sequential | keras.src.models.Functional) or not network.built:
        raise UserError(f"{place}: build gives no network with an input; expected keras.Model(inputs, logits)")
    for name, found, expected in (
        ("inputs", network.input_shape, shape),
        ("outputs", network.output_shape, (classes,)),
    ):
        if not isinstance(found, tuple) or found[1:] != tuple(expected):
            raise UserError(f"{place}: has {name} of shape {found}; expected {(None, *expected)}")
    head = flat_calls(network)[-1].operation
    if isinstance(head, keras.layers.Softmax) or getattr(head, "activation", None) in PROBABILITIES:
        raise UserError(f"{place}: ends in {head.name}, which gives probabilities; leave it out, for logits")
    _check_file(network, place)
    return network


def _check_file(network: keras.Model, place: str) -> None:
    """Save and load a network as later jobs do, which know none of the layers that its module registers."""
    known = keras.saving.get_custom_objects()
    registered = dict(known)
    with tempfile.TemporaryDirectory() as folder:
        network.save(path := Path(folder) / "network.keras")
        known.clear()
        try:
            load_network(path)
        except UserError as error:
            reason = " ".join(str(error).removeprefix(f"{path}: ").split())[:300]
            raise UserError(f"{place}: {reason}; take layers of keras.layers, and no Lambda") from None
        finally:
            known.update(registered)
