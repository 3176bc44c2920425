"""What a full run costs, in core-hours by stage: an estimate from the jobs of a smaller one.

    python benchmarks/core_hours.py RUN config/cifar10_images.yaml config/cifar10_published.yaml

RUN is the folder in which that run was made (its logs/ hold the benchmarks of Snakemake, all of jobs with the settings
of its overlays), the rest its overlays. Writes docs/results/core_hours.csv and the table in the README.

Crafting is scaled by samples, budgets, seeds and steps or queries, as if samples were fooled as early as in that run;
an attack that was not run counts like the others of its access. Training is scaled by epochs, at the pace of the
reference networks. Other jobs count like the mean of their stage, networks of other data like ResNet-8 on CIFAR-10.
"""

from __future__ import annotations

import argparse
import math
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import yaml
from snakemake.utils import update_config

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from qnn_robustness.common.files import atomic_path, write_text  # noqa: E402
from qnn_robustness.configuration.configuration import Configuration  # noqa: E402
from qnn_robustness.configuration.loading import load  # noqa: E402
from qnn_robustness.evaluation.publish import markdown, with_table, write_manifest  # noqa: E402

HOUR = 3600
TRAINING_THREADS = 2  # of the reference networks
REPEATED = ("steps", "restarts", "binary_search_steps", "coordinates")
UNKNOWN = 100  # inputs, of a method with none of these parameters
STAGES = {
    "downloads": "data",
    "data": "data",
    "models": "training, quantization",
    "densities": "training, quantization",
    "static": "attacks",
    "adversarial": "attacks",
    "evaluations": "evaluation",
    "detections": "evaluation",
    "diagnostics": "diagnostics",
    "tables": "tables, figures, reports",
    "figures": "tables, figures, reports",
    "reports": "tables, figures, reports",
}


def main(run: Path, overlays: list[str]) -> None:
    small, full = configuration(overlays), configuration([])
    measured = {path.relative_to(run / "logs"): seconds(path) for path in (run / "logs").rglob("*.tsv")}
    measured = {path: value for path, value in measured.items() if path.parts[0] in STAGES and belongs(path, small)}
    rows = []
    planned = planned_jobs()
    for stage in dict.fromkeys(STAGES.values()):
        done = {path: value for path, value in measured.items() if STAGES[path.parts[0]] == stage}
        wanted = [path for path in planned if STAGES.get(path.parts[0]) == stage]
        rows.append(
            {
                "stage": stage,
                "measured jobs": len(done),
                "measured core-hours": round(sum(done.values()) / HOUR, 2),
                "jobs of a full run": len(wanted),
                "estimated core-hours": round(estimate(wanted, done, small, full) / HOUR, 1),
            }
        )
    table = pd.DataFrame(rows)
    published = ROOT / "docs/results"
    with atomic_path(published / "core_hours.csv") as partial:
        table.to_csv(partial, index=False, lineterminator="\n")
    write_manifest(published)
    readme = ROOT / "README.md"
    write_text(readme, with_table(readme.read_text(encoding="utf-8"), "core_hours", markdown(table)))
    print(table.to_string(index=False))


def belongs(path: Path, small: Configuration) -> bool:
    """Return whether a job is none of an attack that was run in the same folder with other overlays."""
    attacks = {attack for experiment in small.experiments.values() for attack in experiment["attacks"]}
    return path.parts[0] != "adversarial" or path.stem in attacks | set(small.diagnostics["attacks"])


def configuration(overlays: Iterable[str]) -> Configuration:
    values: dict = {}
    for name in ("config.yaml", *overlays):
        update_config(values, yaml.safe_load((ROOT / name).read_text(encoding="utf-8")))
    return load(values, ROOT / "schemas/config.schema.yaml")


def planned_jobs() -> list[Path]:
    """Return the benchmark files of all jobs of config.yaml."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--forceall", "--cores", "1"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(path) for path in re.findall(r"^    benchmark: logs/(\S+)$", output, re.MULTILINE)]


def seconds(benchmark: Path) -> float:
    """Return the processor time of a job; of one too short to be sampled, the time it took."""
    last = pd.read_csv(benchmark, sep="\t").iloc[-1]
    sampled = pd.to_numeric(last["cpu_time"], errors="coerce")
    return float(sampled if sampled > 0 else last["s"])


def estimate(wanted: list[Path], done: dict[Path, float], small: Configuration, full: Configuration) -> float:
    mean = sum(done.values()) / max(len(done), 1)
    pace = attack_pace(done, small)
    total = 0.0
    for path in wanted:
        if path.parts[0] == "adversarial":
            source, name = path.parts[3], path.stem
            total += effort(full, name) * pace(full, source, name)
        elif path.parts[0] == "models" and path.stem == "float32":
            total += training_seconds(full, path.parts[1], path.parts[2])
        else:
            total += mean
    return total


def effort(configuration: Configuration, name: str) -> float:
    """Return about how many inputs an attack evaluates."""
    entry = configuration.attack(name)
    size = entry["samples"] * len(entry["seeds"]) * max(len(entry.get("budgets") or []), 1)
    return size * (entry["query_budget"] or inputs_of_a_sample(entry["parameters"]))


def inputs_of_a_sample(parameters: dict) -> float:
    """Return steps times what repeats them (AutoAttack has two attacks on each target), plus queries."""
    repeated = [parameters[key] for key in REPEATED if parameters.get(key)]
    steps = math.prod(repeated) * 2 * parameters.get("targets", 0.5) if repeated else 0
    return steps + (parameters.get("queries") or 0) or UNKNOWN


def attack_pace(done: dict[Path, float], small: Configuration):
    """Return a function from (configuration, source, attack) to seconds for each unit of effort."""
    rows = [
        {
            "source": path.parts[3],
            "method": small.attack(path.stem)["method"],
            "access": small.attack_columns(path.stem)["access"],
            "pace": value / effort(small, path.stem),
        }
        for path, value in done.items()
        if path.parts[0] == "adversarial"
    ]
    table = pd.DataFrame(rows, columns=["source", "method", "access", "pace"])

    def pace(configuration: Configuration, source: str, name: str) -> float:
        same = table["method"] == configuration.attack(name)["method"]
        access = table["access"] == configuration.attack_columns(name)["access"]
        here = table["source"] == source
        for chosen in (same & here, same, access & here, access, here | ~here):
            if chosen.any():
                return float(table.loc[chosen, "pace"].median())
        return 0.0

    return pace


def training_seconds(configuration: Configuration, model: str, training: str) -> float:
    """Return epochs times the pace of the reference network of the same method, else of the slowest."""
    epochs = configuration.recipe(model, training)["epochs"]
    method = configuration.recipe(model, training)["method"]
    paces = {}
    for history in (ROOT / "reference_models").rglob("training.csv"):
        own = configuration.values["trainings"].get(history.parent.name)
        if own:
            paces[own["method"]] = pd.read_csv(history)["seconds"].median() * TRAINING_THREADS
    return epochs * paces.get(method, max(paces.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("overlays", nargs="*")
    arguments = parser.parse_args()
    main(arguments.run, arguments.overlays)
