"""Loss surfaces (F1): the margin in the plane of two directions around a sample, on every precision."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qnn_robustness.evaluation.diagnostics.shared.losses import LOSSES
from qnn_robustness.evaluation.diagnostics.shared.subject import Subject

REFERENCE = "float32"


def measure(subject: Subject, *, seed: int, surface_points: int, surface_radius: float) -> pd.DataFrame:
    """Return the margin (largest wrong logit minus that of the label) on a grid around each sample.

    Columns: precision, sample, along_gradient, along_random (Linf distances from the sample, up to `surface_radius` to
    both sides) and margin, which is positive where the sample is misclassified. The plane is the same for all
    precisions: one axis is the sign of float32's gradient of the margin, the other has random signs. Points stay in [0,
    1]; they need not be 8-bit images.
    """
    margin = LOSSES["margin"]
    steps = np.linspace(-surface_radius, surface_radius, surface_points, dtype=np.float32)
    across, along = (grid.reshape(-1) for grid in np.meshgrid(steps, steps, indexing="ij"))
    gradients = np.sign(subject.networks[REFERENCE].gradients(subject.samples, subject.labels, margin))
    randoms = subject.random_signs(seed)
    parts = []
    for i, (sample, label) in enumerate(zip(subject.samples, subject.labels, strict=True)):
        offsets = np.multiply.outer(along, gradients[i]) + np.multiply.outer(across, randoms[i])
        points = np.clip(sample + offsets, 0, 1)
        for precision, network in subject.networks.items():
            values = margin.values(network.logits(points), np.full(len(points), label))
            surface = {"along_gradient": along, "along_random": across, "margin": values}
            parts.append(pd.DataFrame({"precision": precision, "sample": subject.places[i], **surface}))
    return pd.concat(parts, ignore_index=True)
