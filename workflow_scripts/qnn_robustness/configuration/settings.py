"""The settings of single entries of a configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from qnn_robustness.common.vote import MEMBERS, VOTE, joined
from qnn_robustness.configuration.distance import parse_distance
from qnn_robustness.configuration.points import INTEGER, NO_PREPROCESSOR, PRECISIONS, PRETRAINED, unique
from qnn_robustness.data.registry import files, resolve


@dataclass(frozen=True)
class Settings:
    """The sections of a configuration that was validated, with all defaults filled in."""

    values: dict[str, Any]

    def dataset(self, name: str) -> dict[str, Any]:
        """Return a data set's entry, completed from the registry of official sources."""
        return {**resolve(self.values["datasets"][name]), "seed": self.values["seed"]}

    def data_parameters(self, name: str) -> dict[str, Any]:
        """Return what the splits of a data set depend on: its entry without where the data are."""
        entry = {key: value for key, value in self.dataset(name).items() if key not in ("urls", "archives", "path")}
        return {**entry, "checksums": {pool: file["checksum"] for pool, file in self.files(name).items()}}

    def files(self, dataset: str) -> dict[str, dict[str, Any]]:
        """Return the files of a data set by the pool they hold: archive, urls and checksum of each."""
        return files(self.dataset(dataset))

    def file(self, dataset: str, archive: str) -> dict[str, Any]:
        """Return one of the files of a data set by its name."""
        return next(file for file in self.files(dataset).values() if file["archive"] == archive)

    def dataset_of(self, model: str) -> str:
        return self.model(model)["dataset"]

    def model(self, name: str) -> dict[str, Any]:
        return self.values["models"][name]

    def is_imported(self, model: str) -> bool:
        """Return whether a model is given by files."""
        return self.model(model)["files"] is not None

    def has(self, model: str, training: str) -> bool:
        """Return whether a model has this training: `pretrained` if it is given by files, any other otherwise."""
        return self.is_imported(model) == (training == PRETRAINED)

    def precisions(self, model: str) -> tuple[str, ...]:
        """Return the precisions that a model can be had in: given by a file, trained, or quantized."""
        files, made = self.model(model)["files"], ["float32", *self.model(model)["quantized_to"]]
        derived = made if files is None or "float32" in files else []
        return tuple(p for p in PRECISIONS if p in derived or p in (files or {}))

    def subjects(self, model: str) -> tuple[str, ...]:
        """Return what of a model can be attacked and evaluated: its precisions, and the vote where it has all three."""
        precisions = self.precisions(model)
        return (*precisions, VOTE) if set(MEMBERS) <= set(precisions) else precisions

    def declaration(self, model: str) -> dict[str, Any]:
        """Return what is declared about the files of a model."""
        return {key: self.model(model)[key] for key in ("input", "output", "labels", "minimum_accuracy")}

    def attack(self, name: str) -> dict[str, Any]:
        return self.values["attacks"][name]

    def preprocessor(self, name: str) -> dict[str, Any]:
        """Return the entry of a preprocessor, with the file of its density model if it has one."""
        if name == NO_PREPROCESSOR:
            return {"method": None, "parameters": {}}
        entry = self.values["preprocessors"][name]
        files = {key: self.density_file(value) for key, value in entry["parameters"].items() if key == "density"}
        return {**entry, "parameters": {**entry["parameters"], **files}}

    def densities_of(self, defense: str) -> list[str]:
        """Return the names of the density models that a preprocessor or a detector uses."""
        fronts = [self.values["preprocessors"].get(name, {}) for name in self.fronts_of(defense)]
        own = self.values["detectors"].get(defense, {}).get("density")
        used = [front["parameters"]["density"] for front in fronts if "density" in front.get("parameters", {})]
        return unique([*used, *([own] if own else [])])

    def density(self, name: str) -> dict[str, Any]:
        return self.values["densities"][name]

    def density_file(self, name: str) -> str:
        return f"results/densities/{name}/density.npz"

    def density_files(self, defenses: Iterable[str]) -> list[str]:
        """Return the files of the density models that preprocessors and detectors need."""
        return [self.density_file(density) for density in unique(d for p in defenses for d in self.densities_of(p))]

    def detector(self, name: str) -> dict[str, Any]:
        return self.values["detectors"][name]

    def squeezed(self, detector: str) -> list[str]:
        """Return the preprocessors behind which a detector runs the network, `none` first and perhaps alone."""
        return [NO_PREPROCESSOR, *self.detector(detector)["squeezers"]]

    def detector_density(self, detector: str) -> str | None:
        """Return the file of the density model that a detector asks, if it has one."""
        density = self.detector(detector)["density"]
        return density and self.density_file(density)

    def fronts_of(self, defense: str) -> list[str]:
        """Return the preprocessors behind which a preprocessor or a detector runs the network."""
        return self.squeezed(defense) if defense in self.values["detectors"] else [defense]

    def kernels(self, precision: str) -> list[str]:
        """Return the kernel sets a precision is evaluated on; float32 runs in TensorFlow.

        The vote has the first kernel set of each of its members, as one word.
        """
        if precision == VOTE:
            return [joined([self.kernels(member)[0] for member in MEMBERS])]
        return self.values["kernels"][precision] if precision in INTEGER else ["tensorflow"]

    @property
    def reported_kernels(self) -> dict[str, str]:
        """Return the kernel set on which each precision is reported in the headline."""
        return {precision: self.kernels(precision)[0] for precision in ("float32", *INTEGER)}

    @property
    def diagnostics(self) -> dict[str, Any]:
        """Return the section `diagnostics`, distances as floats."""
        entry = self.values["diagnostics"]
        sizes = [float(parse_distance(size)) for size in entry["perturbation_sizes"]]
        radius = float(parse_distance(entry["surface_radius"]))
        return {**entry, "perturbation_sizes": sizes, "surface_radius": radius}
