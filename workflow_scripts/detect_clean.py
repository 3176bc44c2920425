"""Fix the threshold of one detector on one precision, and score the clean test split, on each of its kernel sets."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from qnn_robustness.common.files import atomic_path  # noqa: E402
from qnn_robustness.data.splits import load_split  # noqa: E402
from qnn_robustness.evaluation.detection import clean_detections  # noqa: E402
from qnn_robustness.evaluation.judges import load_judges  # noqa: E402

params, inputs = snakemake.params, snakemake.input  # noqa: F821
records = clean_detections(
    load_split(inputs.validation),
    load_split(inputs.test),
    load_judges(network=inputs.network, **params.judge),
    params.false_positive_rate,
    dict(snakemake.wildcards.items()),  # noqa: F821
)
with atomic_path(snakemake.output[0]) as partial:  # noqa: F821
    records.to_parquet(partial, index=False)
