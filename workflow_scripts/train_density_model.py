"""Train one density model."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from pathlib import Path  # noqa: E402

from qnn_robustness.common.files import sha256_arrays, sha256_json  # noqa: E402
from qnn_robustness.data.splits import load_split  # noqa: E402
from qnn_robustness.training.density.train import train_density  # noqa: E402
from qnn_robustness.training.fitting.resume import ResumeFile  # noqa: E402

params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output  # noqa: F821
train, validation = load_split(inputs.train), load_split(inputs.validation)
key = {
    "recipe": params.recipe,
    "seed": params.seed,
    "threads": snakemake.threads,  # noqa: F821
    "code": params.code,
    "data": sha256_arrays(train.samples, validation.samples),
}
train_density(
    train,
    validation,
    **params.recipe,
    seed=params.seed,
    density_path=outputs.density,
    history_path=outputs.history,
    resume=ResumeFile(Path(outputs.density).with_name(".resume.npz"), sha256_json(key)),
)
