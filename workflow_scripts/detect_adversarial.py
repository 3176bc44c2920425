"""Score clean and stored adversarial samples by one detector on one precision, on each of its kernel sets."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from qnn_robustness.common.files import atomic_path, read_arrays, sha256_arrays  # noqa: E402
from qnn_robustness.data.splits import load_split  # noqa: E402
from qnn_robustness.defenses.shared.detector import squeezing_scores  # noqa: E402
from qnn_robustness.defenses.shared.likelihood import likelihood_scores  # noqa: E402
from qnn_robustness.evaluation.detection import detection_records  # noqa: E402
from qnn_robustness.evaluation.records import load_target  # noqa: E402
from qnn_robustness.models.density.pixel_cnn import load_density  # noqa: E402

params, inputs, wildcards = snakemake.params, snakemake.input, snakemake.wildcards  # noqa: F821
predictors = {
    kernels: [load_target(wildcards.target, inputs.network, kernels, front) for front in params.preprocessors]
    for kernels in params.kernels
}
likelihoods = {}


def score(samples, outputs):
    if not params.density:
        return squeezing_scores(outputs, params.probabilities)
    key = sha256_arrays(samples)  # kernel sets, one after the other, are given the same samples
    if key not in likelihoods:
        likelihoods[key] = likelihood_scores(load_density(params.density), samples)
    return likelihoods[key]


records = detection_records(
    read_arrays(inputs.adversarial),
    load_split(inputs.validation),
    load_split(inputs.test),
    predictors,
    score,
    params.false_positive_rate,
    {**dict(wildcards.items()), **params.attack},
)
with atomic_path(snakemake.output[0]) as partial:  # noqa: F821
    records.to_parquet(partial, index=False)
