"""Train one float32 network, or take it from the reference networks when recipe and data are the same."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from pathlib import Path  # noqa: E402

from qnn_robustness.common.errors import UserError  # noqa: E402
from qnn_robustness.common.files import sha256_arrays, sha256_file, sha256_json  # noqa: E402
from qnn_robustness.data.splits import load_split  # noqa: E402
from qnn_robustness.models import reference  # noqa: E402

params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output  # noqa: F821
train, validation = load_split(inputs.train), load_split(inputs.validation)
data_sha256 = sha256_arrays(train.samples, train.labels, validation.samples, validation.labels)

resume = Path(outputs.network).with_name(".resume.npz")
root = Path(snakemake.scriptdir).parent  # noqa: F821
entry = reference.matching(root, params.name, params.recipe_sha256) if params.reference_models == "reuse" else None
if entry and entry["data_sha256"] == data_sha256:
    print(f"taken from {entry['folder']}: recipe and data are the same")
    reference.copy(root, entry, {"float32.keras": outputs.network, "training.csv": outputs.history})
    resume.unlink(missing_ok=True)  # of a training that was killed before the network was kept here
else:
    from qnn_robustness.training.fitting.resume import ResumeFile
    from qnn_robustness.training.fitting.train import train_network

    static = list(inputs.get("static", []))
    if not static and "static_attacks" in params.recipe["parameters"]:
        raise UserError(
            f"{params.name}: the network in {reference.FOLDER}/ was made of other data, and no static samples were "
            "made to train one; set reference_models: ignore"
        )
    networks = {name: inputs[name] for name in ("initial", "teacher") if name in inputs.keys()}  # noqa: SIM118
    key = sha256_json(
        {
            "recipe": params.recipe_sha256,
            "code": params.code,
            "threads": snakemake.threads,  # noqa: F821 - fewer than in the recipe where there are fewer cores
            "data": data_sha256,
            "networks": {name: sha256_file(path) for name, path in networks.items()},
            "static": [sha256_file(path) for path in static],
        }
    )
    train_network(
        train,
        validation,
        architecture=params.architecture,
        recipe=params.recipe,
        seed=params.seed,
        network_path=outputs.network,
        history_path=outputs.history,
        resume=ResumeFile(resume, key),
        static=static,
        **networks,
    )
