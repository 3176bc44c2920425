"""Fetch one archive into results/downloads."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from qnn_robustness.data.download import download  # noqa: E402

params = snakemake.params  # noqa: F821
config = snakemake.config  # noqa: F821 - where an archive is fetched from is no parameter of the job
download(params.archive, params.urls, params.checksum, snakemake.output[0], config.get("mirrors", []))  # noqa: F821
