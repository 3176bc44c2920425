"""Answer one question about all precisions of a network; needs gradients or layers, and so the networks themselves."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from qnn_robustness.common import registry  # noqa: E402
from qnn_robustness.common.files import atomic_path  # noqa: E402
from qnn_robustness.evaluation.diagnostics.shared.loading import load_subject  # noqa: E402

params, inputs, wildcards = snakemake.params, snakemake.input, snakemake.wildcards  # noqa: F821
question = registry.load("evaluation.diagnostics", params.question)
files = {precision: inputs[precision] for precision in ("int16", "int8")}
subject = load_subject(inputs.float32, files, params.kernels, inputs.test, params.samples)
rows = question.measure(subject, **params.parameters)
with atomic_path(snakemake.output[0]) as partial:  # noqa: F821
    rows.assign(model=wildcards.model, training=wildcards.training).to_parquet(partial, index=False)
