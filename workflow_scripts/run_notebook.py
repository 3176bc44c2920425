"""Run one notebook on the tables and figures that it shows; keep it with its outputs, and as a page."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from pathlib import Path  # noqa: E402

import nbformat  # noqa: E402

from qnn_robustness.common import notebooks  # noqa: E402
from qnn_robustness.common.files import write_text  # noqa: E402

params, outputs = snakemake.params, snakemake.output  # noqa: F821
root = Path(snakemake.scriptdir).parent  # noqa: F821
notebook = notebooks.execute(root / params.notebook, params.parameters)
write_text(outputs.html, notebooks.to_html(notebook))
write_text(outputs.notebook, nbformat.writes(notebook))
