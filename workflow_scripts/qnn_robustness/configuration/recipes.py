"""What trained networks depend on."""

from __future__ import annotations

from typing import Any

from qnn_robustness.common.files import sha256_json
from qnn_robustness.configuration.craftings import Craftings
from qnn_robustness.configuration.distance import parse_distance
from qnn_robustness.configuration.points import PRETRAINED, Network, StaticSamples, unique

OPTIONAL = ("patience", "validation_attack")  # keys of a recipe that change nothing when they are null


class Recipes(Craftings):
    """The recipes of networks, each with the networks and static samples that it uses."""

    def recipe(self, model: str, training: str) -> dict[str, Any]:
        """Return the recipe of one network: the training's entry with the changes for this model."""
        entry = self.values["trainings"][training]
        change = self.model(model)["recipes"].get(training, {})
        recipe = {**entry, **change}
        inherited = entry["parameters"] if recipe["method"] == entry["method"] else {}
        recipe["parameters"] = {**inherited, **change.get("parameters", {})}
        if recipe["validation_attack"]:
            attack = recipe["validation_attack"]
            distances = {name: float(parse_distance(attack[name])) for name in ("epsilon", "step_size")}
            recipe["validation_attack"] = {**attack, **distances}
        return recipe

    def recipe_changes(self) -> dict[str, dict[str, Any]]:
        """Return what models change in recipes, by the place in the configuration."""
        return {
            f"models.{model}.recipes.{training}": change
            for model in self.values["models"]
            for training, change in self.model(model)["recipes"].items()
        }

    def place(self, model: str, training: str, key: str) -> str:
        """Return where the configuration says a key of a recipe: among the changes for the model, or in the training.

        `key` may be one of the parameters: `parameters.<name>`.
        """
        change = self.model(model)["recipes"].get(training, {})
        changed = {*change, *(f"parameters.{name}" for name in change.get("parameters", {}))}
        return f"models.{model}.recipes.{training}.{key}" if key in changed else f"trainings.{training}.{key}"

    def ancestors(self, model: str, training: str) -> list[str]:
        """Return a training and those whose networks it was fine-tuned from, the last first."""
        initial = self.recipe(model, training)["initial"]
        return [training, *(self.ancestors(model, initial) if initial else [])]

    def lineage(self, model: str, training: str) -> list[dict[str, Any]]:
        """Return the recipe of a network and of those it was fine-tuned from, the last first.

        Without the optional keys that are not set: so the hash of a recipe outlives the arrival of such keys.
        """
        recipes = [self.recipe(model, ancestor) for ancestor in self.ancestors(model, training)]
        return [{k: v for k, v in recipe.items() if v is not None or k not in OPTIONAL} for recipe in recipes]

    def teacher(self, model: str, training: str) -> str | None:
        """Return the training whose network teaches this one."""
        return self.recipe(model, training)["parameters"].get("teacher")

    def static_samples(self, model: str, training: str) -> list[StaticSamples]:
        """Return the adversarial training samples, made for other networks, that a training uses."""
        parameters = self.recipe(model, training)["parameters"]
        sources = [source.split("/") for source in parameters.get("sources", [])]
        return [StaticSamples(*source, attack) for source in sources for attack in parameters["static_attacks"]]

    def used(self, model: str, training: str) -> list[Network]:
        """Return the networks that must be there before this training, but for the one it fine-tunes."""
        teacher = self.teacher(model, training)
        teachers = [Network(model, teacher)] if teacher else []
        return unique([*teachers, *(Network(s.model, s.training) for s in self.static_samples(model, training))])

    def needed(self, model: str, training: str) -> list[Network]:
        """Return a network and all that have to be trained before it, those that these need among them."""
        initial = self.recipe(model, training)["initial"]
        direct = [*([Network(model, initial)] if initial else []), *self.used(model, training)]
        return unique([Network(model, training), *(network for other in direct for network in self.needed(*other))])

    def provenance(self, model: str, training: str) -> dict[str, Any]:
        """Return all that a network is made with, but for data and code."""
        ancestors = self.ancestors(model, training)
        used = [network for ancestor in ancestors for network in self.used(model, ancestor)]
        attacks = [samples.attack for ancestor in ancestors for samples in self.static_samples(model, ancestor)]
        others = {
            "networks": {f"{n.model}/{n.training}": self.provenance(*n) for n in used},
            "static_attacks": {attack: self.static_crafting(attack) for attack in attacks},
        }
        return {
            "architecture": self.model(model)["architecture"],
            "seed": self.values["seed"],
            "threads": self.values["training_threads"],
            "lineage": self.lineage(model, training),
            **{key: content for key, content in others.items() if content},
        }

    def recipe_sha256(self, model: str, training: str) -> str | None:
        """Return the hash by which a network's recipe is compared with a reference network's; None if imported."""
        if training == PRETRAINED:
            return None
        return sha256_json(self.provenance(model, training))

    def density_provenance(self, name: str) -> dict[str, Any]:
        """Return all that a density model is made with, but for data and code."""
        recipe = {key: value for key, value in self.density(name).items() if key != "dataset"}
        return {"seed": self.values["seed"], "threads": self.values["training_threads"], "recipe": recipe}

    def density_manifest_entry(self, name: str) -> dict[str, Any]:
        """Return what the manifest of the reference models says about how a density model was made."""
        made_with = self.density_provenance(name)
        return {"recipe": made_with, "recipe_sha256": sha256_json(made_with)}

    def manifest_entry(self, model: str, training: str) -> dict[str, Any]:
        """Return what the manifest of the reference networks says about how a network was made."""
        return {
            "recipe": self.provenance(model, training),
            "recipe_sha256": self.recipe_sha256(model, training),
        }
