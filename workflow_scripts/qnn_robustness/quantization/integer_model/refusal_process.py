"""The process in which the integer model is made of a file on trial: the one that asks does without TensorFlow."""

from __future__ import annotations

import sys

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.integer_model.model import IntegerModel

if __name__ == "__main__":
    try:
        IntegerModel.from_file(*sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
