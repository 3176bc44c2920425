"""Run one attack on one network, for all its seeds and budgets."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

import importlib  # noqa: E402
import json  # noqa: E402

import numpy as np  # noqa: E402

from qnn_robustness.attacks.crafting.craft import Setting, craft  # noqa: E402
from qnn_robustness.attacks.crafting.recheck import RECHECKED, sample_of  # noqa: E402
from qnn_robustness.attacks.crafting.sound import craft_sound  # noqa: E402
from qnn_robustness.attacks.crafting.sources import View  # noqa: E402
from qnn_robustness.common.distances import to_unit  # noqa: E402
from qnn_robustness.common.errors import UserError  # noqa: E402
from qnn_robustness.common.files import read_arrays, write_arrays  # noqa: E402
from qnn_robustness.data.splits import Sound, load_sound, load_split, stratified  # noqa: E402
from qnn_robustness.defenses.shared.detector import threshold_at  # noqa: E402
from qnn_robustness.defenses.shared.pipeline import defended, detector_scores, rejecting, runs_of  # noqa: E402
from qnn_robustness.defenses.shared.preprocessor import Preprocessor  # noqa: E402
from qnn_robustness.models.density.pixel_cnn import load_density  # noqa: E402

params, inputs = snakemake.params, snakemake.input  # noqa: F821
attack = params.attack
test = load_split(inputs.test)
try:
    chosen = stratified(test.labels, attack["samples"])
except UserError as error:
    raise UserError(f"attacks.{params.name}.samples: test split: {error}") from None
samples, labels = test.samples[chosen], test.labels[chosen]

source = importlib.import_module(params.source_module)
fronts = [Preprocessor.of(entry) if entry["method"] else None for entry in attack.get("through", [])]
runs = runs_of(fronts, attack.get("draws", 1))
clean = to_unit(samples).astype(np.float32)
warm_starts = read_arrays(inputs.warm_start)["adversarial"] if inputs.get("warm_start") else None
setting = Setting.of(attack, warm_starts, max(len(runs), 1))
view = View(setting.on_lattice and not runs, clean, attack["temperature"], attack["estimator"])
model = source.load(inputs.network, params.kernels, view)
metadata = {"attack": attack, "kernels": params.kernels, "network": inputs.network}
if setting.rejection:
    density = load_density(attack["density"]) if attack.get("density") else None
    scores = detector_scores(model, runs, load_split(inputs.validation).samples, density)
    metadata["threshold"] = threshold_at(scores, attack["false_positive_rate"])
    model = rejecting(model, runs, metadata["threshold"], setting.on_lattice, density)
elif runs:
    model = defended(model, runs, setting.on_lattice, fresh_draws=setting.method.ACCESS == "white_box")
extra = {}
if getattr(setting.method, "OF_SOUND", False):
    sound = load_sound(inputs.test)
    crafted, extra["sound"] = craft_sound(
        setting, model, Sound(sound.clips[chosen], sound.feature_range), labels, chosen
    )
else:
    crafted = craft(setting, model, samples, labels, chosen)
if hasattr(source, "mismatches"):  # an emulated network answers for itself: every job checks it
    inputs_checked = to_unit(sample_of(crafted.adversarial, test.samples, RECHECKED)).astype(np.float32)
    metadata["rechecked"] = len(inputs_checked)
    metadata["mismatches"] = source.mismatches(inputs.network, params.kernels, inputs_checked)
write_arrays(
    snakemake.output[0],  # noqa: F821
    adversarial=crafted.adversarial,
    found=crafted.found,
    queries=crafted.queries,
    samples=chosen,
    seeds=np.array(attack["seeds"]),
    budgets=np.array(attack["budgets"] or [np.nan], np.float64),
    metadata=np.array(json.dumps(metadata)),
    **extra,
)
