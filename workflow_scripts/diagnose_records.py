"""Answer one question about all precisions of a network from records and earlier answers."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

import pandas as pd  # noqa: E402

from qnn_robustness.common import registry  # noqa: E402
from qnn_robustness.common.files import atomic_path  # noqa: E402

params, inputs, wildcards = snakemake.params, snakemake.input, snakemake.wildcards  # noqa: F821
question = registry.load("evaluation.diagnostics", params.question)
records = {
    name: pd.concat([pd.read_parquet(path) for path in inputs[name]], ignore_index=True) for name in params.records
}
rows = question.measure(records, kernels=params.kernels)
with atomic_path(snakemake.output[0]) as partial:  # noqa: F821
    rows.assign(model=wildcards.model, training=wildcards.training).to_parquet(partial, index=False)
