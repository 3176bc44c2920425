"""Attacks beside those of the Adversarial Robustness Toolbox (ART), in one run on this machine.

    python benchmarks/attacks.py [--data results/data/cifar10/test.npz] [--samples 16] [--attacks pgd_linf,zoo_l2]

The ResNet-8 of reference_models/ on CIFAR-10, float32 and, for attacks without gradients, its int8 file on XNNPACK, at
the settings of config/paper.yaml (PGD at its largest budget alone). The paper used neither HopSkipJump, which here has
ART's defaults with 16 iterations, nor APGD, with 20 steps. Both sides attack the same samples, which both networks
classify right, through the same compiled function or interpreter, on one thread. Decision attacks get as many queries
as ART was seen to spend. ART gets all samples in one batch, up to 64.

Writes benchmarks/attacks.csv, attacks.svg and the table in docs/attacks.md. Seconds are processor time, which other
load on the machine disturbs little. They depend on `samples`: attacks here work on all of them at once, so that few of
them flatter ART. Without a peer (ART has no standard AutoAttack, and its GeoDA fails on NumPy 2) its columns are empty.
Rows of attacks that are not asked for are kept.

`queries` are the mean ones of a sample, `share_of_throughput` what the attack's calls of the network would take by
themselves by the time the attack takes: of the bare network, in batches of the same sizes, gradients and predictions
each at their own pace. With as many queries as ART an attack can be no faster than the network.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[name] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in all jobs
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

import art.attacks.evasion as art  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import tensorflow as tf  # noqa: E402
import yaml  # noqa: E402
from art.estimators.classification import BlackBoxClassifierNeuralNetwork, TensorFlowV2Classifier  # noqa: E402
from foolbox.models import Model  # noqa: E402

from qnn_robustness.attacks.crafting.craft import Setting, craft  # noqa: E402
from qnn_robustness.attacks.crafting.sources import View, keras_network, tflite_file  # noqa: E402
from qnn_robustness.common import registry  # noqa: E402
from qnn_robustness.common.distances import distance  # noqa: E402
from qnn_robustness.common.errors import UserError  # noqa: E402
from qnn_robustness.common.files import atomic_path, write_text  # noqa: E402
from qnn_robustness.configuration.loading import load  # noqa: E402
from qnn_robustness.data.splits import load_split, stratified  # noqa: E402
from qnn_robustness.evaluation.publish import markdown, with_table  # noqa: E402
from qnn_robustness.figures.shared import style  # noqa: E402

OUTPUT = ROOT / "benchmarks" / "attacks.csv"
PAGE = ROOT / "docs" / "attacks.md"
NETWORKS = ROOT / "reference_models" / "cifar10_resnet8" / "standard"
COLUMNS = [
    "attack", "network", "peer", "samples", "seconds_per_sample", "peer_seconds_per_sample", "speedup", "success",
    "peer_success", "median_distortion", "peer_median_distortion", "queries", "share_of_throughput",
]  # fmt: skip
LARGEST_BATCH = 64
PACE_CALLS, PACE_INPUTS = 10, 1024  # of the bare network in batches of one size, at most; their median counts
UNROUNDED = View(on_lattice=False, clean=np.empty((0, 32, 32, 3), np.float32))
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Case:
    """An attack of the configuration and its counterpart: the name of ART's class and its arguments."""

    name: str
    entry: str
    peer: str | None = None
    arguments: dict[str, Any] | None = None
    like_peer: bool = False  # as many queries as the peer spends


CASES = [
    Case("deepfool_l2", "deepfool_paper_cifar10", "DeepFool", dict(max_iter=100, epsilon=0.008, nb_grads=10)),
    Case("jsma_l0", "jsma_paper_cifar10", "SaliencyMapMethod", dict(theta=0.08, gamma=1.0)),
    Case(
        "pgd_linf", "pgd_linf_paper_cifar10", "ProjectedGradientDescentTensorFlowV2",
        dict(norm=np.inf, eps=0.008, eps_step=0.0008, max_iter=20, num_random_init=20),
    ),
    Case(
        "carlini_wagner_l2", "carlini_wagner_l2_paper_cifar10", "CarliniL2Method",
        dict(max_iter=10, binary_search_steps=10, initial_const=0.01, learning_rate=0.01),
    ),
    Case(
        "carlini_wagner_linf", "carlini_wagner_linf_paper_cifar10", "CarliniLInfMethod",
        dict(max_iter=10, learning_rate=0.01),
    ),
    Case(
        "elastic_net_l1", "elastic_net_l1_paper_cifar10", "ElasticNet",
        dict(max_iter=10, binary_search_steps=10, initial_const=0.01, beta=0.001, decision_rule="EN"),
    ),
    Case(
        "apgd_linf", "apgd_linf", "AutoProjectedGradientDescent",
        dict(norm=np.inf, eps=0.004, eps_step=0.008, max_iter=20, nb_random_init=1, loss_type="cross_entropy"),
    ),
    Case("autoattack_linf", "autoattack_linf_paper_cifar10"),
    Case(
        "zoo_l2", "zoo_l2_paper_cifar10", "ZooAttack",
        dict(max_iter=10, binary_search_steps=5, initial_const=0.01, variable_h=1e-4, nb_parallel=128),
    ),
    Case(
        "square_l2", "square_l2_paper_cifar10", "SquareAttack",
        dict(norm=2, eps=1.0, max_iter=2000, p_init=0.8),
    ),
    Case(
        "square_linf", "square_linf_paper_cifar10", "SquareAttack",
        dict(norm=np.inf, eps=0.015, max_iter=1000, p_init=0.05),
    ),
    Case(
        "boundary_l2", "boundary_l2_paper_cifar10", "BoundaryAttack",
        dict(targeted=False, delta=0.1, epsilon=1.0, max_iter=500), like_peer=True,
    ),
    Case("hop_skip_jump_l2", "hop_skip_jump_l2", "HopSkipJump", dict(norm=2, max_iter=16), like_peer=True),
    Case("geoda_l2", "geoda_l2_paper_cifar10"),
]  # fmt: skip
# Settings that no configuration has.
FURTHER = {
    "apgd_linf": {
        "method": "apgd", "norm": "linf", "budgets": [0.004], "lattice": "float", "parameters": {"steps": 20},
    }
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A network under attack: as a Foolbox model, as a function, and as ART's estimator of that function."""

    name: str
    model: Model
    predict: Predict
    estimator: Any
    seen: list[int]  # inputs that the estimator has asked about
    calls: list[tuple[str, int]]  # of `model`: `predict` or `gradient`, and the number of inputs
    gradient: Predict | None = None

    def seconds_of(self, calls: list[tuple[str, int]], inputs: np.ndarray) -> float:
        """Return the seconds that the bare network takes for calls, each of a kind (a method here) and a batch size."""
        total = 0.0
        for (kind, size), count in Counter(calls).items():
            batch, times = np.resize(inputs, (size, *inputs.shape[1:])), []
            for _ in range(min(PACE_CALLS, max(2, PACE_INPUTS // size))):
                began = time.process_time()
                getattr(self, kind)(batch)
                times.append(time.process_time() - began)
            total += count * float(np.median(times))
        return total


def float32() -> Subject:
    model = keras_network.load(NETWORKS / "float32.keras", "tensorflow", UNROUNDED)
    compiled = model._model

    def network(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return compiled(tf.convert_to_tensor(inputs, tf.float32))

    @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.float32)])
    def gradient(inputs: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(tf.reduce_max(compiled(inputs), axis=1))
        return tape.gradient(loss, inputs)

    loss = tf.keras.losses.CategoricalCrossentropy(from_logits=True)
    estimator = TensorFlowV2Classifier(network, 10, (32, 32, 3), loss_object=loss, clip_values=(0, 1))
    return Subject(
        "float32",
        model,
        lambda inputs: compiled(tf.constant(inputs)).numpy(),
        estimator,
        counted(estimator),
        recorded(model),
        lambda inputs: gradient(tf.constant(inputs)).numpy(),
    )


def int8() -> Subject:
    model = tflite_file.load(NETWORKS / "int8.tflite", "xnnpack", UNROUNDED)
    interpreted = model._model

    def predict(inputs: np.ndarray) -> np.ndarray:
        return interpreted(inputs.astype(np.float32))

    estimator = BlackBoxClassifierNeuralNetwork(predict, (32, 32, 3), 10, clip_values=(0, 1), channels_first=False)
    return Subject("int8", model, predict, estimator, counted(estimator), recorded(model))


def counted(estimator: Any) -> list[int]:
    """Return a list to which each call of `predict` adds its number of inputs."""
    seen, original = [], estimator.predict

    def predict(x: np.ndarray, **options: Any) -> np.ndarray:
        seen.append(len(x))
        return original(x, **options)

    estimator.predict = predict
    return seen


def recorded(model: Model) -> list[tuple[str, int]]:
    """Return a list to which each call of the network within `model` adds its kind and its number of inputs."""
    calls = []

    def recording(kind: str, function: Callable) -> Callable:
        def call(inputs: Any) -> Any:
            calls.append((kind, len(inputs)))
            return function(inputs)

        return call

    model._model = recording("predict", model._model)
    if hasattr(model, "_slope"):
        model._slope = recording("gradient", model._slope)
    return calls


def configured(case: Case) -> dict[str, Any]:
    """Return the entry of an attack with all defaults, from config.yaml and config/paper.yaml."""
    values = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    paper = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))
    values["attacks"] |= paper["attacks"] | FURTHER
    return load(values, ROOT / "schemas" / "config.schema.yaml").crafting(case.entry)


def measured(case: Case, subject: Subject, samples: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return the row of an attack on a network; samples uint8 [N, 32, 32, 3]."""
    entry = configured(case)
    budget = max(entry["budgets"], default=None)
    setting = Setting(
        method=registry.load("attacks", entry["method"]),
        norm=entry["norm"],
        budgets=[] if budget is None else [budget],
        seeds=[0],
        on_lattice=False,
        batch_size=len(labels),
        query_budget=entry["query_budget"],
        parameters=entry["parameters"],
    )
    clean = (samples / 255).astype(np.float32)
    row = {"attack": case.name, "network": subject.name, "peer": "", "samples": len(labels)}

    def judged(points: np.ndarray, seconds: float, prefix: str) -> None:
        points = np.nan_to_num(points, nan=0.5).astype(np.float32)
        far = distance(setting.norm, points, clean)
        fooled = subject.predict(points).argmax(axis=1) != labels
        if budget is not None:
            fooled &= far <= budget + 1e-5
        row[f"{prefix}seconds_per_sample"] = seconds / len(labels)
        row[f"{prefix}success"] = fooled.mean()
        row[f"{prefix}median_distortion"] = np.median(far[fooled]) if fooled.any() else np.nan

    if case.peer is not None:
        row["peer"] = f"ART {case.peer}"
        options = {**case.arguments, "batch_size": min(len(labels), LARGEST_BATCH), "verbose": False}
        np.random.seed(0)  # noqa: NPY002, the generator that ART draws from
        subject.seen.clear()
        began = time.process_time()
        points = getattr(art, case.peer)(subject.estimator, **options).generate(clean, labels_for(case, labels))
        judged(points, time.process_time() - began, "peer_")
        if case.like_peer:
            setting = replace(setting, query_budget=sum(subject.seen) // len(labels))
    subject.calls.clear()
    began = time.process_time()
    crafted = craft(setting, subject.model, samples, labels)
    seconds = time.process_time() - began
    row["share_of_throughput"] = subject.seconds_of(subject.calls, clean) / seconds
    judged(crafted.adversarial[0, 0], seconds, "")
    row["queries"] = crafted.queries.mean()
    if case.peer is not None:
        row["speedup"] = row["peer_seconds_per_sample"] / row["seconds_per_sample"]
    return row


def labels_for(case: Case, labels: np.ndarray) -> np.ndarray:
    """Return the labels, or the random target classes that ART's JSMA wants instead."""
    if case.peer != "SaliencyMapMethod":
        return np.eye(10, dtype=np.float32)[labels]
    steps = np.random.default_rng(0).integers(1, 10, len(labels))
    return np.eye(10, dtype=np.float32)[(labels + steps) % 10]


def warm_up(subject: Subject, samples: np.ndarray, labels: np.ndarray) -> None:
    """Compile what is compiled at first use."""
    if subject.name == "float32":
        case = next(case for case in CASES if case.name == "apgd_linf")
        measured(replace(case, arguments={**case.arguments, "max_iter": 2}), subject, samples, labels)
    else:
        subject.predict((samples / 255).astype(np.float32))


def right_on_both(data: Path, count: int) -> tuple[np.ndarray, np.ndarray, list[Subject]]:
    if not data.is_file():
        raise UserError(f"{data}: no such file; make it with: snakemake --cores 1 results/data/cifar10/test.npz")
    split, subjects = load_split(data), [float32(), int8()]
    inputs = (split.samples[:1000] / 255).astype(np.float32)
    right = np.all([subject.predict(inputs).argmax(axis=1) == split.labels[:1000] for subject in subjects], axis=0)
    places = np.flatnonzero(right)
    chosen = places[stratified(split.labels[places], count)]
    return split.samples[chosen], split.labels[chosen], subjects


def drawn(table: pd.DataFrame) -> Any:
    """Return the figure: how many times as fast as ART each attack is, with both success rates."""
    rows = table[table["speedup"].notna()].iloc[::-1]
    figure = style.new_figure(6.3, 0.24 * len(rows) + 1.0)
    axes = figure.subplots()
    looks = style.looks(["float32", "int8"])
    axes.barh(range(len(rows)), rows["speedup"], color=[looks[network].color for network in rows["network"]])
    axes.set_yticks(range(len(rows)), [f"{row.attack}, {row.network}" for row in rows.itertuples()])
    for place, row in enumerate(rows.itertuples()):
        text = f" {row.speedup:.1f}x   success {100 * row.success:.0f} % (ART {100 * row.peer_success:.0f} %)"
        axes.text(row.speedup, place, text, va="center", fontsize=style.SMALLEST_FONT)
    axes.set_xscale("log")
    axes.set_xlim(0.1, rows["speedup"].max() * 100)
    axes.axvline(1, color="#444444", linewidth=0.8)
    axes.set_xlabel("ART's seconds a sample divided by ours")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT / "results" / "data" / "cifar10" / "test.npz")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--attacks", default=",".join(case.name for case in CASES), help="names, separated by commas")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    wanted = arguments.attacks.split(",")
    samples, labels, subjects = right_on_both(arguments.data, arguments.samples)
    rows = pd.read_csv(arguments.output).to_dict("records") if arguments.output.is_file() else []
    for subject in subjects:
        warm_up(subject, samples, labels)
        for case in (case for case in CASES if case.name in wanted):
            access = registry.load("attacks", configured(case)["method"]).ACCESS
            if subject.name == "int8" and access == "white_box":
                continue
            row = measured(case, subject, samples, labels)
            print(*(f"{key}={value}" for key, value in row.items()), flush=True)
            rows = [old for old in rows if (old["attack"], old["network"]) != (case.name, subject.name)] + [row]
            write(rows, arguments.output)


def write(rows: list[dict[str, Any]], output: Path) -> None:
    order = {case.name: place for place, case in enumerate(CASES)}
    rows = sorted(rows, key=lambda row: (row["network"], order[row["attack"]]))
    table = pd.DataFrame(rows, columns=COLUMNS)
    with atomic_path(output) as partial:
        table.to_csv(partial, index=False, float_format="%.4g", lineterminator="\n")
    style.save(drawn(table), output.with_suffix(".svg"))
    if output == OUTPUT:
        write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8"), "benchmark", markdown(shown(table))))


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with rounded numbers as text."""
    return pd.DataFrame({name: [rounded(value) for value in table[name]] for name in COLUMNS})


def rounded(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if pd.isna(value) else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
