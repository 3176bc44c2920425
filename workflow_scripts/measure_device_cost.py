"""Measure what every deployed network costs on a microcontroller, behind each of its defenses."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from qnn_robustness.common.files import write_text  # noqa: E402
from qnn_robustness.evaluation.device_cost import device_cost  # noqa: E402

params = snakemake.params  # noqa: F821
table = device_cost(params.networks, params.fronts, params.densities)
write_text(snakemake.output[0], table.to_csv(index=False))  # noqa: F821
