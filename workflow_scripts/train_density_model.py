"""Train one density model, or take it from the reference models when recipe and data are the same."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from pathlib import Path  # noqa: E402

from qnn_robustness.common.files import sha256_arrays, sha256_json  # noqa: E402
from qnn_robustness.data.splits import load_split  # noqa: E402
from qnn_robustness.models import reference  # noqa: E402

params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output  # noqa: F821
train, validation = load_split(inputs.train), load_split(inputs.validation)
data_sha256 = sha256_arrays(train.samples, validation.samples)

resume = Path(outputs.density).with_name(".resume.npz")
root = Path(snakemake.scriptdir).parent  # noqa: F821
wanted = sha256_json(params.made_with)
entry = reference.matching(root, params.name, wanted) if params.reference_models == "reuse" else None
if entry and entry["data_sha256"] == data_sha256:
    print(f"taken from {entry['folder']}: recipe and data are the same")
    reference.copy(root, entry, {"density.npz": outputs.density, "training.csv": outputs.history})
    resume.unlink(missing_ok=True)  # of a training that was killed before the model was kept here
else:
    from qnn_robustness.training.density.train import train_density
    from qnn_robustness.training.fitting.resume import ResumeFile

    key = {
        "made_with": params.made_with,
        "threads": snakemake.threads,  # noqa: F821 - fewer than in made_with where there are fewer cores
        "code": params.code,
        "data": data_sha256,
    }
    train_density(
        train,
        validation,
        **params.made_with["recipe"],
        seed=params.made_with["seed"],
        density_path=outputs.density,
        history_path=outputs.history,
        resume=ResumeFile(resume, sha256_json(key)),
    )
