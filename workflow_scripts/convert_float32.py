"""Convert one float32 network to a .tflite file, unquantized."""

from qnn_robustness.common import job

job.start(snakemake)  # noqa: F821 - given by Snakemake

from qnn_robustness.common.files import atomic_path  # noqa: E402
from qnn_robustness.models.float_network import load_network  # noqa: E402
from qnn_robustness.quantization.convert_float import convert_float  # noqa: E402

content = convert_float(load_network(snakemake.input[0]))  # noqa: F821
with atomic_path(snakemake.output[0]) as partial:  # noqa: F821
    partial.write_bytes(content)
