"""Attacks beside those of torchattacks, where PyTorch is installed: it is no dependency of the project.

    pip install torch==2.13.0 && pip install --no-deps torchattacks==3.5.1
    python benchmarks/attacks_torch.py [--data results/data/cifar10/test.npz] [--samples 60] [--attacks apgd,fab]

The ResNet-8 of reference_models/, float32, on CIFAR-10 samples that it and its int8 file classify right. Both sides
ask the same TensorFlow network, one thread, with equal steps (Square: queries) and budgets, one run each. JSMA, for
which torchattacks tries all pairs of values and takes the next class as target, meets the first samples alone.

Writes benchmarks/attacks_torch.csv and the table in docs/attacks.md. `success` is within the budget; `queries` are the
inputs that the network has seen for a sample. Rows of attacks that are not asked for are kept.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import attacks as beside_art  # first: it sets the number of threads
import numpy as np
import pandas as pd
import tensorflow as tf
import torch
import torchattacks
from foolbox.criteria import TargetedMisclassification

from qnn_robustness.attacks.crafting.craft import Setting, craft
from qnn_robustness.common import registry
from qnn_robustness.common.distances import distance
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import atomic_path, write_text
from qnn_robustness.evaluation.publish import markdown, with_table

OUTPUT = beside_art.ROOT / "benchmarks" / "attacks_torch.csv"
COLUMNS = [
    "attack", "norm", "budget", "peer", "samples", "success", "peer_success", "median_distortion",
    "peer_median_distortion", "queries", "peer_queries", "seconds_per_sample", "peer_seconds_per_sample",
]  # fmt: skip
NORMS = {"linf": "Linf", "l2": "L2"}
UNBOUNDED = {"linf": 0.3, "l2": 5.0}  # torchattacks gives the clean sample back beyond it
JSMA_SAMPLES = 5
FAB = {"restarts": 1, "largest_bias": 0.1, "overshoot": 1.05, "backward_step": 0.9, "smallest_overshoot": 0.0}
Attacked = tuple[np.ndarray, float]  # adversarial samples and queries a sample


@dataclass(frozen=True)
class Case:
    """An attack at one setting: `parameters` are ours, `arguments` those of the class `peer`."""

    name: str
    norm: str
    budget: float | None
    parameters: dict[str, Any]
    peer: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.name.split("_")[0]


def cases() -> list[Case]:
    made = []
    for norm, budgets in {"linf": [1 / 255, 2 / 255, 4 / 255], "l2": [0.1, 0.25]}.items():
        for budget in budgets:
            own = {"restarts": 1, "targets": 9}
            for loss, steps in [("ce", 10), ("ce", 50), ("dlr", 50)]:
                parameters = {**own, "loss": loss, "steps": steps}
                made.append(
                    Case(f"apgd_{loss}_{steps}", norm, budget, parameters, "APGD", dict(loss=loss, steps=steps))
                )
            parameters = {**own, "loss": "dlr_targeted", "steps": 20}
            made.append(Case("apgd_targeted_20", norm, budget, parameters, "APGDT", dict(steps=20)))
    for norm in NORMS:
        for steps in (10, 50):
            made.append(
                Case(f"fab_{steps}", norm, None, {**FAB, "steps": steps, "targets": 0}, "FAB", dict(steps=steps))
            )
        arguments = dict(steps=10, multi_targeted=True)
        made.append(Case("fab_targeted_10", norm, None, {**FAB, "steps": 10, "targets": 9}, "FAB", arguments))
    for norm, budgets in {"linf": [2 / 255, 4 / 255], "l2": [0.25, 0.5]}.items():
        for budget in budgets:
            parameters = {"queries": 1000, "initial_share": 0.8}
            made.append(Case("square_1000", norm, budget, parameters, "Square", dict(n_queries=1000, loss="margin")))
    parameters = {"theta": 1.0, "largest_share": 0.1, "aim": "all", "outputs": "probabilities", "counted": "values"}
    made.append(Case("jsma", "l0", None, parameters, "JSMA", dict(theta=1.0, gamma=0.1)))
    return made


class Network(torch.nn.Module):
    """A TensorFlow function of [N, H, W, C] as a module of [N, C, H, W], with gradients; it counts its inputs."""

    def __init__(self, function: Callable[[tf.Tensor], tf.Tensor]):
        super().__init__()
        self.device_of = torch.nn.Parameter(torch.zeros(1))  # torchattacks asks the parameters for the device
        self.seen = 0
        signature = tf.TensorSpec((None, 32, 32, 3), tf.float32)
        self.logits = tf.function(function, input_signature=[signature])

        @tf.function(input_signature=[signature, tf.TensorSpec((None, 10), tf.float32)])
        def pull_back(inputs: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                logits = function(inputs)
            return tape.gradient(logits, inputs, gradients)

        self.pull_back = pull_back

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.seen += len(inputs)
        return Bridge.apply(inputs, self)


class Bridge(torch.autograd.Function):
    """The step from PyTorch to TensorFlow, and back for gradients."""

    @staticmethod
    def forward(context: Any, inputs: torch.Tensor, network: Network) -> torch.Tensor:
        context.save_for_backward(inputs)
        context.network = network
        return torch.from_numpy(network.logits(tf.constant(channels_last(inputs))).numpy())

    @staticmethod
    def backward(context: Any, gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        inputs = tf.constant(channels_last(*context.saved_tensors))
        result = context.network.pull_back(inputs, tf.constant(gradients.contiguous().numpy()))
        return channels_first(result.numpy()), None


def channels_last(values: torch.Tensor) -> np.ndarray:
    return values.detach().permute(0, 2, 3, 1).contiguous().numpy()


def channels_first(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()


def ours(case: Case, subject: beside_art.Subject, samples: np.ndarray, labels: np.ndarray) -> Attacked:
    """Return the samples of our attack on uint8 [N, 32, 32, 3] with labels [N]."""
    method = registry.load("attacks", case.method)
    if case.method == "jsma":
        inputs, goal = tf.constant(unit(samples)), TargetedMisclassification(tf.constant((labels + 1) % 10))
        subject.calls.clear()
        _, found, _ = method.build(case.norm, **case.parameters)(subject.model, inputs, goal, epsilons=None)
        return found.numpy(), sum(size for _, size in subject.calls) / len(labels)
    setting = Setting(
        method=method,
        norm=case.norm,
        budgets=[] if case.budget is None else [case.budget],
        seeds=[0],
        on_lattice=False,
        batch_size=len(labels),
        parameters=case.parameters,
    )
    crafted = craft(setting, subject.model, samples, labels)
    return crafted.adversarial[0, 0], crafted.queries.mean()


def theirs(case: Case, network: Network, samples: np.ndarray, labels: np.ndarray) -> Attacked:
    """Return the samples of torchattacks."""
    arguments = dict(case.arguments)
    if case.method != "jsma":
        arguments |= {"norm": NORMS[case.norm], "eps": case.budget or UNBOUNDED[case.norm], "n_restarts": 1}
    network.seen = 0
    attack = getattr(torchattacks, case.peer)(network, **arguments)
    found = attack(channels_first(unit(samples)), torch.from_numpy(labels))
    return channels_last(found), network.seen / len(labels)


def unit(samples: np.ndarray) -> np.ndarray:
    return (samples / 255).astype(np.float32)


def measured(
    case: Case, subject: beside_art.Subject, network: Network, samples: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """Return the row of a case."""
    if case.method == "jsma":
        samples, labels = samples[:JSMA_SAMPLES], labels[:JSMA_SAMPLES]
    row = {
        "attack": case.name,
        "norm": case.norm,
        "budget": np.nan if case.budget is None else case.budget,
        "peer": case.peer,
        "samples": len(labels),
    }
    for prefix, attack, model in [("", ours, subject), ("peer_", theirs, network)]:
        began = time.process_time()
        points, queries = attack(case, model, samples, labels)
        seconds = time.process_time() - began
        far = distance(case.norm, points, unit(samples))
        predictions = subject.predict(points.astype(np.float32)).argmax(axis=1)
        success = predictions == (labels + 1) % 10 if case.method == "jsma" else predictions != labels
        if case.budget is not None:
            success &= far <= case.budget + 1e-5
        row[f"{prefix}success"] = success.mean()
        row[f"{prefix}median_distortion"] = np.median(far[success]) if success.any() else np.nan
        row[f"{prefix}queries"] = queries
        row[f"{prefix}seconds_per_sample"] = seconds / len(labels)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=beside_art.ROOT / "results" / "data" / "cifar10" / "test.npz")
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--attacks", default="apgd,fab,square,jsma", help="methods, separated by commas")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    samples, labels, subjects = beside_art.right_on_both(arguments.data, arguments.samples)
    subject = subjects[0]
    keras_network = tf.keras.models.load_model(beside_art.NETWORKS / "float32.keras")
    network = Network(lambda inputs: keras_network(inputs, training=False)).eval()
    rows = pd.read_csv(OUTPUT).to_dict("records") if OUTPUT.is_file() else []
    wanted = arguments.attacks.split(",")
    measured(cases()[0], subject, network, samples, labels)  # compiles what is compiled at first use
    for case in (case for case in cases() if case.method in wanted):
        row = measured(case, subject, network, samples, labels)
        print(*(f"{key}={value}" for key, value in row.items()), flush=True)
        rows = [old for old in rows if not of_case(old, case)] + [row]
        write(rows)


def of_case(row: dict[str, Any], case: Case) -> bool:
    """Return whether a row, maybe one with a rounded budget from the file, is of a case."""
    budget = np.nan if case.budget is None else case.budget
    same = (row["attack"], row["norm"]) == (case.name, case.norm)
    return same and bool(np.isclose(row["budget"], budget, rtol=1e-3, equal_nan=True))


def write(rows: list[dict[str, Any]]) -> None:
    ordered = [row for case in cases() for row in rows if of_case(row, case)]
    table = pd.DataFrame(ordered, columns=COLUMNS)
    with atomic_path(OUTPUT) as partial:
        table.to_csv(partial, index=False, float_format="%.4g", lineterminator="\n")
    shown = pd.DataFrame({name: [beside_art.rounded(value) for value in table[name]] for name in COLUMNS})
    page = with_table(beside_art.PAGE.read_text(encoding="utf-8"), "benchmark_torch", markdown(shown))
    write_text(beside_art.PAGE, page)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
