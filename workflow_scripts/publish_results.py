"""Copy the tables and figures of a run into docs/results/<run>, and what the pages have marks for into these.

    python workflow_scripts/publish_results.py cifar10

Run by hand after a full run. docs/results/MANIFEST.sha256 (in the form of sha256sum, paths relative to
docs/results) and docs/results/{integer_model_exactness,findings}.csv, over all published runs, are written anew.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from qnn_robustness.common.errors import UserError  # noqa: E402
from qnn_robustness.evaluation.publish import publish  # noqa: E402

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="name of the folder below docs/results")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder of the run")
    arguments = parser.parse_args()
    try:
        publish(arguments.results, ROOT, arguments.run)
    except UserError as error:
        sys.exit(f"error: {error}")
