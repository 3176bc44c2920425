"""Make one table of the diagnostics from the rows of all networks."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

import pandas as pd  # noqa: E402

from qnn_robustness.common import registry  # noqa: E402
from qnn_robustness.common.files import write_text  # noqa: E402

module = registry.load("evaluation.diagnostics.tables", snakemake.params.table)  # noqa: F821
rows = pd.concat([pd.read_parquet(path) for path in snakemake.input], ignore_index=True)  # noqa: F821
write_text(snakemake.output[0], module.table(rows).to_csv(index=False, float_format="%.6g"))  # noqa: F821
