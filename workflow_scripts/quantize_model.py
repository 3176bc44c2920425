"""Quantize one float32 network, or take the file from the reference networks when network and data are the same."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from pathlib import Path  # noqa: E402

from qnn_robustness.common.files import sha256_arrays, sha256_file  # noqa: E402
from qnn_robustness.data.splits import load_split  # noqa: E402
from qnn_robustness.models import reference  # noqa: E402

params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output  # noqa: F821
precision = snakemake.wildcards.precision  # noqa: F821
calibration = load_split(inputs.calibration)
made_from = {
    "float32_sha256": sha256_file(inputs.network),
    "calibration_sha256": sha256_arrays(calibration.samples, calibration.labels),
    "output": params.output,
}

root = Path(snakemake.scriptdir).parent  # noqa: F821
entry = reference.matching(root, params.name, params.recipe_sha256) if params.reference_models == "reuse" else None
if entry and entry["quantized"].get(precision) == made_from:
    print(f"taken from {entry['folder']}: network, calibration data and output are the same")
    files = {f"{precision}.{suffix}": outputs[name] for name, suffix in (("network", "tflite"), ("sidecar", "json"))}
    reference.copy(root, entry, files)
else:
    from qnn_robustness.quantization.quantize import quantize

    quantize(inputs.network, precision, calibration, params.output, made_from, outputs.network, outputs.sidecar)
