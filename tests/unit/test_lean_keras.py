"""Keras without its extras, which stay there for everybody else."""

from __future__ import annotations

import os
import subprocess
import sys

from qnn_robustness.common.code_hash import LIBRARY

SCRIPT = """
import sys
from qnn_robustness.common.lean_keras import EXTRAS, hide_extras

hide_extras()
import {first}
import keras

hidden = [name for name in EXTRAS if name not in sys.modules]
import matplotlib, pandas, sklearn

outputs = keras.layers.Dense(1)(keras.ops.ones((1, 2)))
print(sorted(hidden), outputs.shape)
"""


def output(first: str) -> str:
    command = [sys.executable, "-c", SCRIPT.format(first=first)]
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_keras_does_without_and_others_import_them() -> None:
    assert output("tensorflow") == "['matplotlib', 'pandas', 'sklearn'] (1, 1)"


def test_what_is_there_already_stays() -> None:
    assert output("pandas") == "['matplotlib', 'sklearn'] (1, 1)"
