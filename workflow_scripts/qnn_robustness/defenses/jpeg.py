"""JPEG compression as an input defense (Dziugaite et al. 2016; Guo et al. 2018, section 3.1)."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from qnn_robustness.common.errors import UserError

MODES = {1: "L", 3: "RGB"}


def apply(samples: np.ndarray, *, quality: int) -> np.ndarray:
    """Return `samples` (float32 [N, H, W, C] in [0, 1]) compressed and decompressed by libjpeg.

    They are rounded to 8 bits first. `quality` is libjpeg's, 1 to 95; colours are kept at half the resolution
    (4:2:0).

    Raises UserError for images that are neither grey nor RGB.
    """
    channels = samples.shape[-1]
    if channels not in MODES:
        raise UserError(f"jpeg: images of {channels} channels; expected 1 (grey) or 3 (RGB)")
    images = np.rint(np.clip(samples, 0, 1) * 255).astype(np.uint8)
    images = images[..., 0] if channels == 1 else images
    decoded = [_compressed(image, MODES[channels], quality) for image in images]
    return np.array(decoded, np.float32).reshape(samples.shape) / np.float32(255)


def _compressed(image: np.ndarray, mode: str, quality: int) -> np.ndarray:
    with io.BytesIO() as stream:
        Image.fromarray(image, mode).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
        stream.seek(0)
        with Image.open(stream) as decoded:
            return np.asarray(decoded)
