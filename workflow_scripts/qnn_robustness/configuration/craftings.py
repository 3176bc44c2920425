"""What adversarial samples depend on."""

from __future__ import annotations

from typing import Any

from qnn_robustness.attacks.crafting import sources
from qnn_robustness.common import registry
from qnn_robustness.configuration.distance import parse_distance
from qnn_robustness.configuration.points import INTEGER, NO_PREPROCESSOR
from qnn_robustness.configuration.settings import Settings
from qnn_robustness.defenses.shared.preprocessor import Preprocessor


class Craftings(Settings):
    """The attacks, each with what it is crafted through and searches on."""

    def through(self, attack: str) -> str:
        """Return the preprocessor or detector that an attack knows of and is crafted through."""
        return self.attack(attack)["through"] or NO_PREPROCESSOR

    def fronts(self, attack: str) -> list[str]:
        """Return the preprocessors behind which an attack sees the network: several for a detector."""
        return self.fronts_of(self.through(attack))

    def crafting(self, attack: str) -> dict[str, Any]:
        """Return what the samples of an attack depend on, budgets as floats; none for attacks that minimise.

        `through` are the entries of the preprocessors, and `draws` is there for randomised ones only: attacks that do
        not know the defense have neither. Those that count what a detector rejects as failed have its
        `false_positive_rate` and the file of its `density` model, if it has one.
        """
        left_out = ("protocol", "search_kernels", "through", "draws")
        entry = {key: value for key, value in self.attack(attack).items() if key not in left_out}
        if self.through(attack) != NO_PREPROCESSOR:
            entry["through"] = [self.preprocessor(name) for name in self.fronts(attack)]
            if any(Preprocessor.of(front).randomised for front in entry["through"] if front["method"]):
                entry["draws"] = self.attack(attack)["draws"]
        if self.meets_rejection(attack):
            entry["false_positive_rate"] = self.detector(self.through(attack))["false_positive_rate"]
            if density := self.detector_density(self.through(attack)):
                entry["density"] = density
        return {**entry, "budgets": [float(parse_distance(budget)) for budget in entry.get("budgets", [])]}

    def static_crafting(self, attack: str) -> dict[str, Any]:
        """Return what static samples depend on: all training samples are attacked."""
        return {key: value for key, value in self.crafting(attack).items() if key != "samples"}

    def attack_columns(self, attack: str) -> dict[str, str]:
        """Return the columns that say in every record what an attack is."""
        entry = self.attack(attack)
        access = registry.load("attacks", entry["method"]).ACCESS
        return {
            "protocol": entry["protocol"],
            "access": access,
            "norm": entry["norm"],
            "lattice": entry["lattice"],
            "through": self.through(attack),
        }

    def meets_rejection(self, attack: str) -> bool:
        """Return whether an attack has to evade the detector that it is crafted through, too.

        Those that ask the pipeline alone do; of those with gradients the methods that say so.
        """
        method = registry.load("attacks", self.attack(attack)["method"])
        asks = method.ACCESS != "white_box" and self.through(attack) in self.values["detectors"]
        return asks or getattr(method, "REJECTION", False)

    def is_of_sound(self, attack: str) -> bool:
        """Return whether an attack changes sound itself instead of features."""
        return getattr(registry.load("attacks", self.attack(attack)["method"]), "OF_SOUND", False)

    def search_kernels(self, source: str, attack: str) -> str:
        """Return the kernel set on which an attack searches."""
        wanted = self.attack(attack)["search_kernels"]
        return wanted if wanted and source in INTEGER else self.kernels(source)[0]

    def source_module(self, model: str, source: str, attack: str) -> str:
        """Return the module which puts a source precision of a model under attack."""
        access = registry.load("attacks", self.attack(attack)["method"]).ACCESS
        has_model = self.has_integer_model(model, source)
        return sources.module_for(source, access, self.search_kernels(source, attack), has_model)

    def has_integer_model(self, model: str, precision: str) -> bool:
        """Return whether the integer model can stand for a precision: of networks made here the entry says so.

        Of a file it is what happens on the first of the kernel sets.
        """
        file = (self.model(model)["files"] or {}).get(precision)
        if precision not in INTEGER or file is None:
            return precision in INTEGER and self.model(model)["integer_model"]
        # here, because every job reads the configuration, and few have a file to look into
        from qnn_robustness.quantization.integer_model.refusal import refusal

        return refusal(file, self.kernels(precision)[0]) is None

    def is_emulated(self, model: str, source: str, attack: str) -> bool:
        """Return whether the integer model answers an attack on a source precision of a model."""
        return self.source_module(model, source, attack).endswith(".integer_model")
