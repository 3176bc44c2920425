"""Score the stored samples of one attack on one precision, on each of its kernel sets."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

import pandas as pd  # noqa: E402

from qnn_robustness.common.files import atomic_path, read_arrays  # noqa: E402
from qnn_robustness.data.splits import load_sound, load_split  # noqa: E402
from qnn_robustness.evaluation.records import adversarial_records, load_target  # noqa: E402
from qnn_robustness.evaluation.sound import checked_ratio  # noqa: E402

params, inputs, wildcards = snakemake.params, snakemake.input, snakemake.wildcards  # noqa: F821
predictors = {
    kernels: load_target(wildcards.target, inputs.network, kernels, params.preprocessor) for kernels in params.kernels
}
crafted = read_arrays(inputs.adversarial)
if "sound" in crafted:
    crafted["snr"] = checked_ratio(crafted, load_sound(inputs.test))
records = adversarial_records(
    crafted,
    load_split(inputs.test),
    predictors,
    pd.read_parquet(inputs.source_clean),
    pd.read_parquet(inputs.target_clean),
    {**dict(wildcards.items()), **params.attack},
)
with atomic_path(snakemake.output[0]) as partial:  # noqa: F821
    records.to_parquet(partial, index=False)
