"""Make one table from records or from other tables."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from qnn_robustness.common.files import write_text  # noqa: E402
from qnn_robustness.evaluation import tables  # noqa: E402

params, inputs = snakemake.params, snakemake.input  # noqa: F821
table = getattr(tables, params.table)(inputs, **params.get("arguments", {}))
write_text(snakemake.output[0], table.to_csv(index=False, float_format="%.6g"))  # noqa: F821
