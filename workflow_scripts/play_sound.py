"""Make the page on which adversarial sound can be heard."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

import json  # noqa: E402
from pathlib import Path  # noqa: E402

import pandas as pd  # noqa: E402

from qnn_robustness.common.files import read_arrays, write_text  # noqa: E402
from qnn_robustness.data.splits import load_sound, load_split  # noqa: E402
from qnn_robustness.evaluation.sound_page import page, section  # noqa: E402

inputs = snakemake.input  # noqa: F821
sections = {}
for title, adversarial, clean, test, summary in zip(
    snakemake.params.titles,  # noqa: F821
    inputs.adversarial,
    inputs.clean,
    inputs.test,
    inputs.summary,
    strict=True,
):
    crafted, records = read_arrays(adversarial), pd.read_parquet(clean)
    kernels = json.loads(str(crafted["metadata"]))["kernels"]
    correct = records[records["kernels"] == kernels].set_index("sample").loc[crafted["samples"], "correct"]
    sections[title] = section(
        crafted,
        load_sound(test),
        load_split(test).labels[crafted["samples"]],
        json.loads(Path(summary).read_text(encoding="utf-8"))["classes"],
        correct.to_numpy(),
    )
write_text(snakemake.output[0], page(sections))  # noqa: F821
