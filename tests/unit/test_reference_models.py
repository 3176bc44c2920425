"""Networks and density models that are taken from the reference models instead of being trained."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ready_configurations import loaded

from qnn_robustness.common.files import sha256_arrays, sha256_file, sha256_json, write_arrays, write_json
from qnn_robustness.models.reference import FOLDER, read_manifest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "workflow_scripts"
PUBLISHED = ("recipes_published.yaml", "preprocessors_published.yaml", "data_sets_published.yaml")
MADE_WITH = {"seed": 0, "recipe": {}}


@pytest.mark.parametrize(
    ("script", "name", "output", "file", "columns"),
    [
        ("train_model.py", "small/standard", "network", "float32.keras", ("samples", "labels")),
        ("train_density_model.py", "densities/strokes", "density", "density.npz", ("samples",)),
    ],
)
def test_what_is_taken_leaves_no_state_of_a_training_that_was_killed(
    script, name, output, file, columns, tmp_path, monkeypatch
):
    split = {"samples": np.zeros((2, 2, 2, 1), np.uint8), "labels": np.array([0, 1])}
    for part in ("train", "validation"):
        write_arrays(tmp_path / f"{part}.npz", **split)
    kept = tmp_path / "reference_models" / name
    kept.mkdir(parents=True)
    for each in (file, "training.csv"):
        (kept / each).write_text(each)
    recipe = sha256_json(MADE_WITH)
    entry = {"recipe_sha256": recipe, "data_sha256": sha256_arrays(*[split[column] for column in columns] * 2)}
    files = {each: sha256_file(kept / each) for each in (file, "training.csv")}
    write_json(kept.parents[1] / "manifest.json", {name: {**entry, "files": files}})
    results = tmp_path / "results"
    results.mkdir()
    (results / ".resume.npz").write_text("what a killed training has left")

    job = SimpleNamespace(
        scriptdir=str(tmp_path / "workflow_scripts"),
        threads=1,
        input=SimpleNamespace(train=tmp_path / "train.npz", validation=tmp_path / "validation.npz"),
        output=SimpleNamespace(**{output: str(results / file)}, history=str(results / "training.csv")),
        params=SimpleNamespace(name=name, recipe_sha256=recipe, made_with=MADE_WITH, reference_models="reuse"),
    )
    monkeypatch.setattr("qnn_robustness.common.job.start", lambda snakemake: None)
    runpy.run_path(str(SCRIPTS / script), init_globals={"snakemake": job})
    assert sorted(path.name for path in results.iterdir()) == sorted([file, "training.csv"])


def test_every_reference_model_is_what_a_published_run_would_train() -> None:
    """A change of a default or of a recipe would have runs train anew, hours long, what is kept."""
    kept = {name: entry["recipe_sha256"] for name, entry in read_manifest(ROOT / FOLDER).items()}
    wanted = set()
    for overlay in PUBLISHED:
        configuration = loaded(overlay)
        for name in kept:
            group, item = name.split("/")
            if group == "densities" and item in configuration.values["densities"]:
                wanted.add((name, configuration.density_manifest_entry(item)["recipe_sha256"]))
            elif group in configuration.values["models"] and item in configuration.values["trainings"]:
                wanted.add((name, configuration.recipe_sha256(group, item)))
    assert set(kept.items()) <= wanted
