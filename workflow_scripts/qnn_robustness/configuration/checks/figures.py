"""Checks that the figures which experiments feed have something to draw."""

from __future__ import annotations

from collections.abc import Collection

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.configuration import Configuration

# Figures of tables that not every run has; not asked of their modules, since a plan would then load Matplotlib.
OF_DETECTION = ("detection", "detection_roc")
OF_DIAGNOSTICS = (
    "boundary_distance",
    "gradient_alignment",
    "gradient_magnitudes",
    "loss_surfaces",
    "quantization_shift",
    "transfer_explained",
)


def check_figures(configuration: Configuration) -> None:
    """Check the figures of the experiments that are run: one of them has to have what a figure draws."""
    for name, entry in configuration.experiments.items():
        for figure in entry["figures"]:
            where = f"experiments.{name}.figures: '{figure}'"
            if figure in OF_DETECTION and not configuration.detections():
                raise UserError(f"{where} draws detectors, but no experiment that is run has any; set detectors")
            if figure in OF_DIAGNOSTICS and not configuration.diagnosed():
                raise UserError(f"{where} draws a diagnosis, but no experiment that is run has one; set diagnose: true")


def check_asked(targets: Collection[str], drawn: Collection[str]) -> None:
    """Check that none of the targets is a figure that this run does not draw: Snakemake would know no such rule."""
    for figure in registry.names("figures"):
        made = {f"plot_{figure}", *(f"results/figures/{figure}.{kind}" for kind in ("svg", "png"))}
        if figure not in drawn and made & {*targets}:
            has = ", ".join(sorted(drawn)) or "none"
            raise UserError(
                f"figure '{figure}' is fed by no experiment of this run, which has {has}; "
                "name it under `figures` of one"
            )
