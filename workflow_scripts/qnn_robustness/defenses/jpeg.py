"""JPEG compression as an input defense (Dziugaite et al. 2016; Guo et al. 2018, section 3.1)."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from qnn_robustness.common.errors import UserError

MODES = {1: "L", 3: "RGB"}

OF_IMAGES = True
CHANNELS = tuple(MODES)


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


def operations(shape: tuple[int, ...], *, quality: int) -> int:
    """Return the work for one sample of `shape` (H, W, C), without its lossless coding, which changes nothing.

    For each 8 x 8 block: a cosine transform and its inverse of 16 vectors each, at 34 operations a vector (Arai et al.
    1988), and two multiplications a value to quantize and back. Colours, at half the resolution, are converted there
    and back by 9 multiplications and 6 additions a pixel each way.
    """
    height, width, channels = shape
    blocks = math.ceil(height / 8) * math.ceil(width / 8)
    if channels == 3:
        blocks += 2 * math.ceil(height / 16) * math.ceil(width / 16)
    conversion = 2 * 15 * height * width if channels == 3 else 0
    return blocks * (2 * 16 * 34 + 2 * 64) + conversion


def _compressed(image: np.ndarray, mode: str, quality: int) -> np.ndarray:
    with io.BytesIO() as stream:
        Image.fromarray(image, mode).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
        stream.seek(0)
        with Image.open(stream) as decoded:
            return np.asarray(decoded)
