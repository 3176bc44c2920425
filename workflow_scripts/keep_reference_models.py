"""Collect the trained networks of this run, with a manifest, in the form of reference_models/."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

import json  # noqa: E402
import shutil  # noqa: E402
from pathlib import Path  # noqa: E402

import pandas as pd  # noqa: E402

from qnn_robustness.common.files import sha256_arrays, sha256_file, write_json  # noqa: E402
from qnn_robustness.data.splits import load_split  # noqa: E402
from qnn_robustness.models import reference  # noqa: E402

params, inputs = snakemake.params, snakemake.input  # noqa: F821
manifest_path = Path(snakemake.output[0])  # noqa: F821
manifest = reference.read_manifest(Path(snakemake.scriptdir).parent / "reference_models")  # noqa: F821
accuracies = pd.read_csv(inputs.clean_accuracy)
FILES = ("float32.keras", "training.csv", "int8.tflite", "int8.json", "int16.tflite", "int16.json")

for name, recipe in params.networks.items():
    model, training = name.split("/")
    folder, kept = Path("results/models") / name, manifest_path.parent / name
    kept.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copyfile(folder / file, kept / file)
    splits = [load_split(path) for path in (inputs[f"{model}_train"], inputs[f"{model}_validation"])]
    rows = accuracies[
        (accuracies["model"] == model) & (accuracies["training"] == training) & (accuracies["preprocessor"] == "none")
    ]
    files = {file: sha256_file(kept / file) for file in FILES}
    earlier = manifest.get(name)
    if earlier and earlier["files"]["float32.keras"] == files["float32.keras"]:
        recipe["code_sha256"] = earlier["code_sha256"]  # the code that trained it, not the code of today
    manifest[name] = {
        **recipe,
        "data_sha256": sha256_arrays(*(array for split in splits for array in (split.samples, split.labels))),
        "quantized": {p: json.loads((folder / f"{p}.json").read_text())["made_from"] for p in ("int8", "int16")},
        "accuracies": {
            f"{row.precision}/{row.kernels}": {"samples": row.samples, "accuracy": round(row.accuracy, 4)}
            for row in rows.itertuples()
        },
        "files": files,
    }
write_json(manifest_path, dict(sorted(manifest.items())))
