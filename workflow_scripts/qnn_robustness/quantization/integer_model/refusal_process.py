"""The process in which the integer model is made of a file on trial: the one that asks does without TensorFlow."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.integer_model.model import IntegerModel
from qnn_robustness.quantization.tflite_model import TFLiteModel


def _answer(path: str, kernels: str) -> str | None:
    try:
        IntegerModel.from_file(path, kernels)
        TFLiteModel(path, kernels)  # which jobs compare it with: kernels of an operator may be lacking
    except UserError as error:
        return str(error)
    return None


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(_answer(*sys.argv[1:3])), encoding="utf-8")
