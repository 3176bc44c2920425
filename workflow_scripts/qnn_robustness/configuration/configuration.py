"""The validated configuration and the grid of artifacts that its experiments ask for."""

from __future__ import annotations

from itertools import product
from typing import Any

from qnn_robustness.common.vote import VOTE
from qnn_robustness.configuration.points import (
    INTEGER,
    PRECISIONS,
    PRETRAINED,
    Craft,
    Detection,
    Evaluation,
    Network,
    unique,
)
from qnn_robustness.configuration.recipes import Recipes


class Configuration(Recipes):
    """The grid: the union of the experiments that are run."""

    @property
    def experiments(self) -> dict[str, dict[str, Any]]:
        """Return the experiments that are run."""
        return {name: self.values["experiments"][name] for name in self.values["run"]}

    def networks(self) -> list[Network]:
        return unique(
            Network(*pair)
            for entry in self.experiments.values()
            for pair in product(entry["models"], entry["trainings"])
            if self.has(*pair)
        )

    def trained_networks(self) -> list[Network]:
        """Return the networks that the workflow trains itself."""
        return [network for network in self.networks() if network.training != PRETRAINED]

    def undefended(self) -> list[str]:
        """Return the networks, as model/training, that are trained without a defense or given by files."""
        return [
            f"{model}/{training}"
            for model, training in self.networks()
            if training == PRETRAINED or all(recipe["method"] == "standard" for recipe in self.lineage(model, training))
        ]

    def kept_networks(self) -> list[Network]:
        """Return the networks that are trained, and those that teach them or give them samples."""
        trained = self.trained_networks()
        return unique([*trained, *(other for network in trained for other in self.used(*network))])

    def kept_densities(self) -> list[str]:
        """Return the density models that defenses, and attacks through them, use."""
        return unique(
            density
            for entry in self.experiments.values()
            for defense in (*entry["preprocessors"], *entry["detectors"], *map(self.through, entry["attacks"]))
            for density in self.densities_of(defense)
        )

    def kept_datasets(self) -> list[str]:
        """Return the data sets of what is kept."""
        return unique(
            [
                *(self.dataset_of(network.model) for network in self.kept_networks()),
                *(self.density(density)["dataset"] for density in self.kept_densities()),
            ]
        )

    def imports(self) -> dict[str, str]:
        """Return the files of the imported models that are run, by `<model>/pretrained/<precision>`."""
        models = unique(model for entry in self.experiments.values() for model in entry["models"])
        return {
            f"{model}/{PRETRAINED}/{precision}": file
            for model in models
            if self.is_imported(model)
            for precision, file in self.model(model)["files"].items()
        }

    def notes(self) -> list[str]:
        """Return what the grid leaves out, one line each."""
        lines = []
        for model in unique(key.split("/")[0] for key in self.imports()):
            missing = [precision for precision in PRECISIONS if precision not in self.precisions(model)]
            if missing:
                left_out = " and ".join(missing)
                lines.append(f"{model}: {left_out} left out: neither given under files nor made from float32")
        return lines

    def diagnosed(self) -> list[Network]:
        """Return the networks that are looked into beside being attacked."""
        entries = [entry for entry in self.experiments.values() if entry["diagnose"]]
        networks = unique(Network(*pair) for entry in entries for pair in product(entry["models"], entry["trainings"]))
        return [network for network in networks if self.has(*network)]

    def evaluations(self, experiment: str) -> list[Evaluation]:
        entry = self.values["experiments"][experiment]
        axes = ("models", "trainings", "sources", "attacks", "preprocessors", "targets")
        points = [Evaluation(*point) for point in product(*(entry[axis] for axis in axes))]
        return [point for point in points if self._exists(point)]

    def _exists(self, point: Evaluation | Detection) -> bool:
        subjects = self.subjects(point.model)
        return self.has(point.model, point.training) and {point.source, point.target} <= set(subjects)

    def emulated(self) -> set[tuple[str, str]]:
        """Return the (model, precision) that the integer model stands for in an attack or a diagnosis."""
        points = [e for name in self.experiments for e in self.evaluations(name)]
        attacked = {(e.model, e.source) for e in points if self.is_emulated(e.model, e.source, e.attack)}
        whole = {e.model for e in points if e.source == VOTE} | {network.model for network in self.diagnosed()}
        return attacked | set(product(whole, INTEGER))

    def crafted_sound(self) -> list[Craft]:
        """Return the crafting jobs whose adversarial samples can be heard."""
        jobs = unique(Craft(*e[:4]) for name in self.experiments for e in self.evaluations(name))
        return [job for job in jobs if self.is_of_sound(job.attack)]

    def clean_evaluations(self) -> list[tuple[str, str, str, str]]:
        """Return (model, training, preprocessor, target) of every clean evaluation."""
        return unique(
            point
            for entry in self.experiments.values()
            for point in product(*(entry[axis] for axis in ("models", "trainings", "preprocessors", "targets")))
            if self.has(point[0], point[1]) and point[3] in self.subjects(point[0])
        )

    def detections(self) -> list[Detection]:
        axes = ("models", "trainings", "sources", "attacks", "detectors", "targets")
        points = [
            Detection(*point)
            for entry in self.experiments.values()
            for point in product(*(entry[axis] for axis in axes))
        ]
        return unique(point for point in points if self._exists(point) and point.target != VOTE)

    @property
    def compared_kernels(self) -> dict[str, str]:
        """Return the kernel set on which tables compare each target; the vote is among them where it is run."""
        voting = any(VOTE in entry["targets"] for entry in self.experiments.values())
        return {**self.reported_kernels, **({VOTE: self.kernels(VOTE)[0]} if voting else {})}

    def figures(self) -> list[str]:
        """Return the figures that some experiment feeds."""
        return unique(figure for entry in self.experiments.values() for figure in entry["figures"])

    def has_worst_case(self) -> bool:
        """Return whether attacks within Linf budgets count together, as `evaluation.reported.counted` has it."""
        pairs = [
            (model, attack)
            for experiment in self.experiments.values()
            for model, attack in product(experiment["models"], map(self.attack, experiment["attacks"]))
        ]
        on_lattice = {model for model, attack in pairs if attack["lattice"] == "uint8"}
        return any(
            attack["norm"] == "linf"
            and "budgets" in attack
            and attack["protocol"] == "sound"
            and (attack["lattice"] == "uint8" or model not in on_lattice)
            for model, attack in pairs
        )

    def feeding(self, figure: str) -> list[str]:
        """Return the experiments that feed a figure."""
        return [name for name, entry in self.experiments.items() if figure in entry["figures"]]
