"""Draw one figure from the tables that feed it, as SVG and PNG."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from qnn_robustness.common import registry  # noqa: E402
from qnn_robustness.evaluation.tables import concatenation  # noqa: E402
from qnn_robustness.figures.shared.style import save  # noqa: E402

params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output  # noqa: F821
module = registry.load("figures", params.figure)
if hasattr(module, "read"):  # a figure of samples, not of numbers
    figure = module.draw(module.read(dict(inputs.items())))
else:
    figure = module.draw({name: concatenation({"tables": list(inputs[name])}) for name in module.TABLES})
for path in outputs:
    save(figure, path)
