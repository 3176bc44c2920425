"""Check a network given by a file from outside and take it over."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

import importlib  # noqa: E402
import json  # noqa: E402
from pathlib import Path  # noqa: E402

from qnn_robustness.data.splits import load_split  # noqa: E402
from qnn_robustness.quantization.importing import module_for  # noqa: E402
from qnn_robustness.quantization.importing.declaration import Declaration  # noqa: E402

params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output  # noqa: F821
model, _, precision = snakemake.wildcards.network.split("/")  # noqa: F821
summary = json.loads(Path(inputs.summary).read_text(encoding="utf-8"))
declaration = Declaration.of(model, precision, params.declaration, summary)
importer = importlib.import_module(module_for(precision))
importer.import_file(
    inputs.file, declaration, load_split(inputs.test), params.kernels, outputs.network, outputs.sidecar
)
