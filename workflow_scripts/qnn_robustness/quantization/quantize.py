"""From a float32 network on disk to a .tflite file and its sidecar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qnn_robustness.common.files import atomic_path, sha256_file, write_json
from qnn_robustness.data.splits import Split, to_unit
from qnn_robustness.models.float_network import load_network
from qnn_robustness.quantization.convert import convert, converter_version
from qnn_robustness.quantization.flatbuffer import with_scaling
from qnn_robustness.quantization.own_unit import taken_apart
from qnn_robustness.quantization.tflite_model import TFLiteModel


def quantize(
    network: str | Path,
    precision: str,
    calibration: Split,
    output: str,
    made_from: dict[str, Any],
    file_path: str | Path,
    sidecar_path: str | Path,
) -> None:
    """Write the quantized file and, last, its sidecar (JSON).

    The sidecar has `made_from` (hashes of network and calibration data, kind of output), the number of
    calibration samples, input and output scales and zero points, the converter's version, size in bytes and
    SHA-256 of the file.
    """
    float_network = load_network(network)
    content = convert(float_network, precision, to_unit(calibration.samples), output)
    _, scaling = taken_apart(float_network)
    with atomic_path(file_path) as partial:
        partial.write_bytes(content)
        if not scaling.is_identity:
            partial.write_bytes(with_scaling(partial, scaling))
    model = TFLiteModel(file_path, "reference")
    write_json(
        sidecar_path,
        {
            "precision": precision,
            "made_from": made_from,
            "calibration_samples": len(calibration.labels),
            "input": {"scale": float(model.input_scale), "zero_point": int(model.input_zero_point)},
            "output": {"scale": float(model.output_scale), "zero_point": int(model.output_zero_point)},
            "converter": converter_version(),
            "bytes": Path(file_path).stat().st_size,
            "sha256": sha256_file(file_path),
        },
    )
