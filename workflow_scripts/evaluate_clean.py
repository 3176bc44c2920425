"""Score the clean test split on one precision, on each of its kernel sets."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from qnn_robustness.common.files import atomic_path  # noqa: E402
from qnn_robustness.data.splits import load_split  # noqa: E402
from qnn_robustness.evaluation.records import clean_records, load_target  # noqa: E402

params, inputs, wildcards = snakemake.params, snakemake.input, snakemake.wildcards  # noqa: F821
predictors = {
    kernels: load_target(wildcards.target, inputs.network, kernels, params.preprocessor) for kernels in params.kernels
}
records = clean_records(load_split(inputs.test), predictors)
constants = {
    "model": wildcards.model,
    "training": wildcards.training,
    "preprocessor": wildcards.preprocessor,
    "precision": wildcards.target,
}
with atomic_path(snakemake.output[0]) as partial:  # noqa: F821
    records.assign(**constants).to_parquet(partial, index=False)
