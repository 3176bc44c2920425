"""The handwritten digits that come with scikit-learn: 1,797 real images of 8x8, no download.

Source: the test set of Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from qnn_robustness.data.formats import Pool, Source, require_classes, require_shape

SHAPE = (8, 8, 1)


def read(archive: Path | None, dataset: dict[str, Any]) -> Source:
    """Return the digits as one pool, their 17 grey levels 0..16 spread over 0..255 by rounding.

    Raises UserError when `image_shape` or `classes` of the data set are not those of the digits.
    """
    del archive  # embedded
    classes = [str(digit) for digit in range(10)]
    require_shape(dataset, SHAPE)
    require_classes(dataset, classes)
    digits = load_digits()
    samples = np.round(digits.images * 255 / 16).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    return Source(classes, {"all": Pool(samples, labels, np.full(len(labels), "", dtype=object))})
