"""Compare the integer model with the TFLite interpreter on .tflite files of any origin, beside those of a run.

    python benchmarks/exactness.py RUN.csv FOLDER OUTPUT.csv

writes the rows of RUN.csv (results/tables/integer_model_exactness.csv) and those of every int8 or int16 file in FOLDER,
on every kernel set: 1,000 inputs of each kind, random over the full input range and saturating. docs/results/ holds the
table as integer_model_exactness.csv.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from qnn_robustness.common.errors import UserError  # noqa: E402
from qnn_robustness.common.files import write_text  # noqa: E402
from qnn_robustness.evaluation.publish import write_manifest  # noqa: E402
from qnn_robustness.quantization.integer_model.exactness import exactness_table, random_inputs  # noqa: E402
from qnn_robustness.quantization.integer_model.model import IntegerModel  # noqa: E402

INPUTS = 1000


def main(run: str, folder: str, output: str) -> None:
    """Write the table; files that are no integer networks are named and left out."""
    tables = [pd.read_csv(run)]
    for path in sorted(Path(folder).rglob("*.tflite")):
        try:
            precision = IntegerModel.from_file(path).precision
        except UserError as error:
            print(f"left out: {error}")
            continue
        name = f"{path.parent.name}/{path.stem}"
        rows = exactness_table([(name, path, precision)], None, lambda _, model: random_inputs(model, INPUTS))
        tables.append(pd.DataFrame(rows))
    write_text(output, pd.concat(tables).to_csv(index=False))
    write_manifest(ROOT / "docs" / "results")


if __name__ == "__main__":
    main(*sys.argv[1:4])
