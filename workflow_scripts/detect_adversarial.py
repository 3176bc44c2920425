"""Score stored adversarial samples by one detector on one precision, on each of its kernel sets."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

import pandas as pd  # noqa: E402

from qnn_robustness.common.files import atomic_path, read_arrays  # noqa: E402
from qnn_robustness.data.splits import load_split  # noqa: E402
from qnn_robustness.evaluation.detection import adversarial_detections  # noqa: E402
from qnn_robustness.evaluation.judges import load_judges  # noqa: E402

params, inputs = snakemake.params, snakemake.input  # noqa: F821
records = adversarial_detections(
    read_arrays(inputs.adversarial),
    load_split(inputs.test),
    load_judges(network=inputs.network, **params.judge),
    pd.read_parquet(inputs.clean),
    {**dict(snakemake.wildcards.items()), **params.attack},  # noqa: F821
)
with atomic_path(snakemake.output[0]) as partial:  # noqa: F821
    records.to_parquet(partial, index=False)
