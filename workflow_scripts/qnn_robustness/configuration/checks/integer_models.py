"""Checks of the user's own networks that are emulated by the integer model."""

from __future__ import annotations

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.configuration import Configuration


def check_integer_models(configuration: Configuration) -> None:
    """Check that the integer model can be made of the .tflite files that are attacked or diagnosed on it.

    Raises UserError, with one line, for the first of which it cannot, for a file that cannot be read, and for a model
    which says that the integer model cannot stand for its networks.
    """
    emulated = configuration.emulated()
    for model, precision in sorted(emulated):
        entry = configuration.model(model)
        if precision not in (entry["files"] or {}) and not entry["integer_model"]:
            raise UserError(
                f"models.{model}.integer_model: is false, but its {precision} network is attacked with gradients or "
                "diagnosed; leave such attacks to the source float32"
            )
    for key, file in configuration.imports().items():
        model, _, precision = key.split("/")
        if (model, precision) in emulated:
            try:
                _check_file(file, configuration.kernels(precision)[0])
            except UserError as error:
                raise UserError(f"models.{model}.files.{precision}: {error}") from None


def _check_file(file: str, kernels: str) -> None:
    # here, because every job reads the configuration, and few have a file to look into
    from qnn_robustness.quantization.flatbuffer import read_graph
    from qnn_robustness.quantization.integer_model.refusal import refusal

    read_graph(file)
    if reason := refusal(file, kernels):
        raise UserError(f"{file}: {reason}")
