"""Compare the integer model of one network with the interpreter on its kernel sets and kinds of input."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from qnn_robustness.attacks.crafting.recheck import sample_of  # noqa: E402
from qnn_robustness.common.distances import to_unit  # noqa: E402
from qnn_robustness.common.errors import UserError  # noqa: E402
from qnn_robustness.common.files import read_arrays, write_text  # noqa: E402
from qnn_robustness.data.splits import load_split  # noqa: E402
from qnn_robustness.quantization.integer_model.exactness import (  # noqa: E402
    comparable_kernels,
    exactness_table,
    random_inputs,
)

params, inputs, wildcards = snakemake.params, snakemake.input, snakemake.wildcards  # noqa: F821
samples = load_split(inputs.test).samples
real = samples[np.arange(params.inputs) % len(samples)]


def kinds(name, model):
    adversarial = [read_arrays(path)["adversarial"] for path in inputs.adversarial]
    share = -(-params.inputs // max(len(adversarial), 1))
    crafted = [sample_of(array, samples, share) for array in adversarial]
    return {
        "real": to_unit(real).astype(np.float32),
        **({"adversarial": np.concatenate([to_unit(c) for c in crafted]).astype(np.float32)} if crafted else {}),
        **random_inputs(model, params.inputs),
    }


name = f"{wildcards.model}/{wildcards.training}"
kernels = comparable_kernels(inputs.network, wildcards.precision, params.attacked)
table = pd.DataFrame(exactness_table([(name, inputs.network, wildcards.precision)], kernels, kinds))
if table["differing_bytes"].any():
    raise UserError(f"{inputs.network}: the integer model differs from the interpreter: {table.to_csv(index=False)}")
write_text(snakemake.output[0], table.to_csv(index=False))  # noqa: F821
