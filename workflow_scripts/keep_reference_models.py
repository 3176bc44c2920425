"""Collect the trained networks and density models of this run, with a manifest, in the form of reference_models/."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

import json  # noqa: E402
import shutil  # noqa: E402
from collections.abc import Iterable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pandas as pd  # noqa: E402

from qnn_robustness.common.files import sha256_arrays, sha256_file, write_json  # noqa: E402
from qnn_robustness.data.splits import load_split  # noqa: E402
from qnn_robustness.models import reference  # noqa: E402

params, inputs = snakemake.params, snakemake.input  # noqa: F821
manifest_path = Path(snakemake.output[0])  # noqa: F821
manifest = reference.read_manifest(Path(snakemake.scriptdir).parent / "reference_models")  # noqa: F821
accuracies = pd.read_csv(inputs.clean_accuracy)
QUANTIZED = ("int8", "int16")
NETWORK = ("float32.keras", "training.csv", *(f"{p}.{kind}" for p in QUANTIZED for kind in ("tflite", "json")))
DENSITY = ("density.npz", "training.csv")


def kept(name: str, folder: Path, files: Iterable[str], made: dict[str, Any]) -> dict[str, Any]:
    """Copy the files of a model and return its entry in the manifest: how it was made, and the hashes of the files."""
    copies = manifest_path.parent / name
    copies.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(folder / file, copies / file)
    hashes = {file: sha256_file(copies / file) for file in files}
    trained = next(iter(hashes))
    earlier = manifest.get(name)
    if earlier and earlier["files"][trained] == hashes[trained]:
        made = {**made, "code_sha256": earlier["code_sha256"]}  # the code that trained it, not the code of today
    return {**made, "files": hashes}


def splits_sha256(dataset: str, *columns: str) -> str:
    splits = [load_split(inputs[f"{dataset}_{split}"]) for split in ("train", "validation")]
    return sha256_arrays(*(getattr(split, column) for split in splits for column in columns))


for name, (dataset, made) in params.networks.items():
    model, training = name.split("/")
    folder = Path("results/models") / name
    rows = accuracies[
        (accuracies["model"] == model) & (accuracies["training"] == training) & (accuracies["preprocessor"] == "none")
    ]
    manifest[name] = {
        **kept(name, folder, NETWORK, made),
        "data_sha256": splits_sha256(dataset, "samples", "labels"),
        "quantized": {p: json.loads((folder / f"{p}.json").read_text())["made_from"] for p in QUANTIZED},
        "accuracies": {
            f"{row.precision}/{row.kernels}": {"samples": row.samples, "accuracy": round(row.accuracy, 4)}
            for row in rows.itertuples()
        },
    }
for name, (dataset, made) in params.densities.items():
    folder = Path("results/densities") / name
    history = pd.read_csv(folder / "training.csv")
    manifest[f"densities/{name}"] = {
        **kept(f"densities/{name}", folder, DENSITY, made),
        "data_sha256": splits_sha256(dataset, "samples"),
        "bits_per_dimension": round(history["val_bits_per_dimension"].min(), 4),
    }
write_json(manifest_path, dict(sorted(manifest.items())))
