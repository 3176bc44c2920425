"""From a recipe and data to a trained network on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import atomic_path, read_arrays, write_text
from qnn_robustness.data.splits import Split
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

    Raises UserError when there is no validation sample to choose the checkpoint by.
    """
    if not len(validation.labels):
        raise UserError("the validation split is empty; set validation_samples of the data set")
    make_deterministic(seed)
    classes = int(train.labels.max()) + 1
    if initial:
        network = _load(initial)
    else:
        network = registry.load("models", architecture).build(train.samples.shape[1:], classes)
    versions, sources = [read_arrays(path)["adversarial"] for path in static], recipe["parameters"].get("sources", [])
    each = len(versions) // max(len(sources), 1)
    groups = [versions[place * each : (place + 1) * each] for place in range(len(sources))]
    material = Material(seed, train, _load(teacher) if teacher else None, groups)
    parameters = {name: value for name, value in recipe["parameters"].items() if name not in INPUTS}
    objective = registry.load("training", recipe["method"]).objective(network, material, **parameters)
    history = fit(objective, validation, resume, **{name: recipe[name] for name in FITTING})
    with atomic_path(network_path) as partial:
        network.save(partial)
    write_text(history_path, history.to_csv(index=False))
    resume.remove()


def _load(path: str) -> keras.Model:
    return keras.saving.load_model(path, compile=False, safe_mode=True)
