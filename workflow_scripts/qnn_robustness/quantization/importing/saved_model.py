"""A SavedModel as a float32 .tflite file, converted in a process of its own.

A SavedModel is a program of TensorFlow operations. What it would run while it is loaded is refused, and so are
operations on files, networks and Python; of the rest the converter takes what TFLite has operators for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.trial import in_own_process

SECONDS = 900
# The program of that process, run by name: importing it here would bring TensorFlow to whoever describes a file.
CONVERSION = f"{__name__}_conversion"
DATA_FILES = ("saved_model_conversion.py",)


def is_saved_model(path: str | Path) -> bool:
    """Return whether a path is a folder, which no other kind of network is."""
    return Path(path).is_dir()


@contextmanager
def converted(folder: str | Path) -> Iterator[Path]:
    """Yield the default signature of a SavedModel as a float32 .tflite file, which is deleted afterwards.

    Raises UserError, with one line, when it is none, damaged, holds what is not run, or TFLite lacks an operation. A
    UserError about the .tflite file, raised within, is raised about the folder.
    """
    if not (Path(folder) / "saved_model.pb").is_file():
        raise UserError(f"{folder}: is a folder without saved_model.pb; give a SavedModel or a file")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "float32.tflite"
        in_own_process(folder, CONVERSION, str(file), what="TensorFlow's converter", seconds=SECONDS)
        try:
            yield file
        except UserError as error:
            raise UserError(str(error).replace(str(file), str(folder))) from error
