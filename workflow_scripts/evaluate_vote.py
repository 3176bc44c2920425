"""Score clean or stored adversarial samples by the vote of the three precisions, from the records of these."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

import pandas as pd  # noqa: E402

from qnn_robustness.common.files import atomic_path  # noqa: E402
from qnn_robustness.common.vote import MEMBERS  # noqa: E402
from qnn_robustness.evaluation.vote import adversarial_vote, clean_vote  # noqa: E402

params, inputs = snakemake.params, snakemake.input  # noqa: F821
members = {member: pd.read_parquet(path) for member, path in zip(MEMBERS, inputs.members, strict=True)}
if inputs.get("clean"):
    records = adversarial_vote(members, pd.read_parquet(inputs.clean), params.kernels)
else:
    records = clean_vote(members, params.kernels)
with atomic_path(snakemake.output[0]) as partial:  # noqa: F821
    records.to_parquet(partial, index=False)
