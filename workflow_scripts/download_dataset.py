"""Fetch one archive into results/downloads."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from qnn_robustness.data.download import download  # noqa: E402
from qnn_robustness.data.registry import addresses  # noqa: E402

params, config = snakemake.params, snakemake.config  # noqa: F821
# Where an archive is fetched from is no parameter of the job: another place gives the same archive.
urls = addresses(config["datasets"][snakemake.wildcards.dataset], params.archive)  # noqa: F821
download(params.archive, urls, params.checksum, snakemake.output[0], config.get("mirrors", []))  # noqa: F821
