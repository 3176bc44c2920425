"""Audit one network of your own: how easily is it fooled?

    python workflow_scripts/audit_model.py network.tflite folder_of_images --range 0..255

`make audit` runs this. It writes a small configuration into audits/<name>, runs the workflow there with
config/audit.yaml, and prints the headline and the page with the report.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))


from qnn_robustness.common.errors import UserError  # noqa: E402
from qnn_robustness.common.files import write_text  # noqa: E402
from qnn_robustness.configuration.audit import audit, kernel_sets, name_of, without_what_fails  # noqa: E402
from qnn_robustness.quantization.importing.trial_conversion import convert_on_trial  # noqa: E402
from qnn_robustness.quantization.integer_model.refusal import refusal  # noqa: E402

SCALING = ("range", "mean", "deviation", "order")


def main(arguments: argparse.Namespace) -> int:
    """Run the audit and return the exit status of the workflow."""
    beneath = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    taken = {*beneath["models"], *yaml.safe_load((ROOT / "config/audit.yaml").read_text(encoding="utf-8"))["models"]}
    scaling = {name: text for name in SCALING if (text := getattr(arguments, name))}
    overlay = audit(arguments.model, arguments.data, scaling, arguments.labels, taken)
    ((name, model),) = overlay["models"].items()
    notes = []
    if "float32" in model["files"]:
        kernels = kernel_sets(beneath, ROOT / "schemas/config.schema.yaml")
        trial = convert_on_trial(arguments.model, overlay["datasets"]["images"]["classes"], kernels)
        model["output"] = trial.output
        without_what_fails(overlay, trial.failed, trial.lacking)
        notes += [f"{precision} left out: {reason}" for precision, reason in trial.failed.items()]
        notes += [f"{precision} without gradients: {reason}" for precision, reason in trial.lacking.items()]
    elif "kernels" in overlay:
        ((kernels,),) = overlay["kernels"].values()
        notes.append(f"on the {kernels} kernels alone: {refusal(arguments.model)}")
    elif "run" in overlay:  # other experiments than those of config/audit.yaml
        notes.append(f"without gradients, black-box attacks alone: {refusal(arguments.model)}")
    folder = arguments.folder or ROOT / "audits" / name_of(arguments.model, taken)
    write_text(folder / "audit.yaml", yaml.safe_dump(overlay, sort_keys=False))
    command = ["snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--workflow-profile", str(ROOT / "profiles/default"), "--cores", str(arguments.cores)]
    command += ["--configfile", str(ROOT / "config/audit.yaml"), str(folder / "audit.yaml"), "--", "audit"]
    if "input" in model:
        black, white = model["input"]["range"]
        then = ", before mean and deviation" if {"mean", "deviation"} & set(model["input"]) else ""
        notes.append(f"black is {black:g} and white {white:g}{then}; RANGE=... says otherwise")
    for note in notes:
        print(f"{name}: {note}")
    print(shlex.join(command), flush=True)
    status = subprocess.run([sys.executable, "-m", *command]).returncode
    if status == 0:
        results = folder / "results"
        shown = [str(results / "tables/headline.csv"), str(results / "reports/audit.html")]
        subprocess.run([sys.executable, str(ROOT / "workflow_scripts/show_headline.py"), *shown])
    return status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    path = {"type": os.path.expanduser}  # make gives `~` on as it is
    parser.add_argument("model", **path, help="a .tflite, .keras or .h5 file, or the folder of a SavedModel")
    parser.add_argument("data", **path, help="folder with a folder of images for each class")
    parser.add_argument("--range", help="values of black and white that the network takes, such as 0..255")
    parser.add_argument(
        "--mean", help="what is subtracted from these values: a number, or one for each channel (1,2,3)"
    )
    parser.add_argument("--deviation", help="what they are then divided by, likewise")
    parser.add_argument("--order", help="order of the channels that the network takes: rgb or bgr")
    parser.add_argument("--labels", help="class folders in the order of the outputs, separated by commas")
    parser.add_argument("--folder", type=Path, help="where to write configuration and results (default: audits/<name>)")
    parser.add_argument("--cores", type=int, default=2)
    try:
        sys.exit(main(parser.parse_args()))
    except (UserError, OSError) as error:  # OSError: what cannot be read or written, with its name
        sys.exit(f"error: {error}")
