"""Run one attack on a static network with all training samples, for networks that are trained on the results."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

import importlib  # noqa: E402

import numpy as np  # noqa: E402

from qnn_robustness.attacks.crafting.craft import Setting, craft  # noqa: E402
from qnn_robustness.attacks.crafting.sources import View  # noqa: E402
from qnn_robustness.common.distances import to_unit  # noqa: E402
from qnn_robustness.common.files import write_arrays  # noqa: E402
from qnn_robustness.data.splits import load_split  # noqa: E402

PART = 5000  # samples held as float32 at once

params, inputs = snakemake.params, snakemake.input  # noqa: F821
attack = params.attack
train = load_split(inputs.train)
source = importlib.import_module(params.source_module)
setting = Setting.of(attack)
adversarial = np.empty_like(train.samples)
for start in range(0, len(train), PART):
    part = slice(start, start + PART)
    samples = train.samples[part]
    view = View(setting.on_lattice, to_unit(samples).astype(np.float32), attack["temperature"], attack["estimator"])
    model = source.load(inputs.network, "", view)
    crafted = craft(setting, model, samples, train.labels[part], np.arange(len(train))[part])
    adversarial[part] = crafted.adversarial[0, 0]
write_arrays(snakemake.output[0], adversarial=adversarial)  # noqa: F821
