"""Write the splits of one data set and their summary."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from pathlib import Path  # noqa: E402

from qnn_robustness.data.prepare import prepare  # noqa: E402

prepare(
    snakemake.params.name,  # noqa: F821
    snakemake.params.dataset,  # noqa: F821
    {pool: Path(path) for pool, path in snakemake.input.items()},  # noqa: F821
    snakemake.output,  # noqa: F821
)
