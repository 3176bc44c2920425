"""The validated configuration and the grid of artifacts that its experiments ask for."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from qnn_robustness.attacks.crafting import sources
from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError, did_you_mean
from qnn_robustness.common.files import sha256_json
from qnn_robustness.configuration import schema as schemas
from qnn_robustness.data.formats import EMBEDDED, FEATURES, SEVERAL
from qnn_robustness.data.registry import files, number_of_classes, resolve
from qnn_robustness.defenses.shared.preprocessor import Preprocessor

INTEGER = ("int8", "int16")
PRECISIONS = ("float32", "int16", "int8")
NO_PREPROCESSOR = "none"
FINE_TUNING = ("quantization_aware_adversarial",)  # methods that make no sense from random weights
OPTIONAL = ("patience", "validation_attack")  # keys of a recipe that change nothing when they are null
PRETRAINED = "pretrained"  # the training of a model that is given by files


class Network(NamedTuple):
    """The weights of one model after one training."""

    model: str
    training: str


class Craft(NamedTuple):
    """One crafting job."""

    model: str
    training: str
    source: str
    attack: str


class StaticSamples(NamedTuple):
    """Adversarial versions of all training samples, made once for a network that is not trained on them."""

    model: str
    training: str
    attack: str


class Evaluation(NamedTuple):
    """One evaluation of crafted samples."""

    model: str
    training: str
    source: str
    attack: str
    preprocessor: str
    target: str


class Detection(NamedTuple):
    """One judgement of crafted samples by a detector."""

    model: str
    training: str
    source: str
    attack: str
    detector: str
    target: str


def parse_distance(value: float | int | str) -> Fraction:
    """Return a distance exactly: `8/255` as a fraction, a number as the decimal it was written as."""
    return Fraction(str(value)) if not isinstance(value, str) else _parse_fraction(value)


def _parse_fraction(text: str) -> Fraction:
    numerator, denominator = text.split("/")
    return Fraction(numerator) / Fraction(denominator)


@dataclass(frozen=True)
class Configuration:
    """A configuration that was validated, with all defaults filled in."""

    values: dict[str, Any]

    # --- settings of single entries -------------------------------------------------------------------

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
        files = self.model(model)["files"]
        return PRECISIONS if files is None or "float32" in files else tuple(p for p in PRECISIONS if p in files)

    def imports(self) -> dict[str, str]:
        """Return the files of the imported models that are run, by `<model>/pretrained/<precision>`."""
        models = _unique(model for entry in self.experiments.values() for model in entry["models"])
        return {
            f"{model}/{PRETRAINED}/{precision}": file
            for model in models
            if self.is_imported(model)
            for precision, file in self.model(model)["files"].items()
        }

    def declaration(self, model: str) -> dict[str, Any]:
        """Return what is declared about the files of a model."""
        return {key: self.model(model)[key] for key in ("input", "output", "labels", "minimum_accuracy")}

    def notes(self) -> list[str]:
        """Return what the grid leaves out, one line each."""
        lines = []
        for model in _unique(key.split("/")[0] for key in self.imports()):
            missing = [precision for precision in PRECISIONS if precision not in self.precisions(model)]
            if missing:
                left_out = " and ".join(missing)
                lines.append(f"{model}: {left_out} left out: neither given under files nor to be made without float32")
        return lines

    def dataset_of(self, model: str) -> str:
        return self.model(model)["dataset"]

    def recipe(self, model: str, training: str) -> dict[str, Any]:
        """Return the recipe of one network: the training's entry with the changes for this model."""
        entry = self.values["trainings"][training]
        change = self.model(model)["recipes"].get(training, {})
        recipe = {**entry, **change}
        recipe["parameters"] = {**entry["parameters"], **change.get("parameters", {})}
        if recipe["validation_attack"]:
            attack = recipe["validation_attack"]
            distances = {name: float(parse_distance(attack[name])) for name in ("epsilon", "step_size")}
            recipe["validation_attack"] = {**attack, **distances}
        return recipe

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
        return _unique([*teachers, *(Network(s.model, s.training) for s in self.static_samples(model, training))])

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

    def attack(self, name: str) -> dict[str, Any]:
        return self.values["attacks"][name]

    def manifest_entry(self, model: str, training: str) -> dict[str, Any]:
        """Return what the manifest of the reference networks says about how a network was made."""
        return {
            "recipe": self.provenance(model, training),
            "recipe_sha256": self.recipe_sha256(model, training),
        }

    def crafting(self, attack: str) -> dict[str, Any]:
        """Return what the samples of an attack depend on, budgets as floats; none for attacks that minimise.

        `through` are the entries of the preprocessors, and `draws` is there for randomised ones only: attacks that do
        not know the defense have neither.
        """
        left_out = ("protocol", "search_kernels", "through", "draws")
        entry = {key: value for key, value in self.attack(attack).items() if key not in left_out}
        if self.through(attack) != NO_PREPROCESSOR:
            entry["through"] = [self.preprocessor(name) for name in self.fronts(attack)]
            if any(Preprocessor.of(front).randomised for front in entry["through"] if front["method"]):
                entry["draws"] = self.attack(attack)["draws"]
        return {**entry, "budgets": [float(parse_distance(budget)) for budget in entry.get("budgets", [])]}

    def through(self, attack: str) -> str:
        """Return the preprocessor or detector that an attack knows of and is crafted through."""
        return self.attack(attack)["through"] or NO_PREPROCESSOR

    def fronts(self, attack: str) -> list[str]:
        """Return the preprocessors behind which an attack sees the network: several for a detector."""
        through = self.through(attack)
        return self.squeezed(through) if through in self.values["detectors"] else [through]

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

    def source_module(self, source: str, attack: str) -> str:
        """Return the module which puts a source precision under attack."""
        access = registry.load("attacks", self.attack(attack)["method"]).ACCESS
        return sources.module_for(source, access, self.search_kernels(source, attack))

    def preprocessor(self, name: str) -> dict[str, Any]:
        return {"method": None, "parameters": {}} if name == NO_PREPROCESSOR else self.values["preprocessors"][name]

    def detector(self, name: str) -> dict[str, Any]:
        return self.values["detectors"][name]

    def squeezed(self, detector: str) -> list[str]:
        """Return the preprocessors behind which a detector runs the network, `none` first."""
        return [NO_PREPROCESSOR, *self.detector(detector)["squeezers"]]

    def kernels(self, precision: str) -> list[str]:
        """Return the kernel sets a precision is evaluated on; float32 runs in TensorFlow."""
        return self.values["kernels"][precision] if precision in INTEGER else ["tensorflow"]

    @property
    def reported_kernels(self) -> dict[str, str]:
        """Return the kernel set on which each precision is reported in the headline."""
        return {precision: self.kernels(precision)[0] for precision in ("float32", *INTEGER)}

    def search_kernels(self, source: str, attack: str) -> str:
        """Return the kernel set on which an attack searches."""
        wanted = self.attack(attack)["search_kernels"]
        return wanted if wanted and source in INTEGER else self.kernels(source)[0]

    @property
    def diagnostics(self) -> dict[str, Any]:
        """Return the section `diagnostics`, distances as floats."""
        entry = self.values["diagnostics"]
        sizes = [float(parse_distance(size)) for size in entry["perturbation_sizes"]]
        radius = float(parse_distance(entry["surface_radius"]))
        return {**entry, "perturbation_sizes": sizes, "surface_radius": radius}

    # --- the grid ----------------------------------------------------------------------------------------

    @property
    def experiments(self) -> dict[str, dict[str, Any]]:
        """Return the experiments that are run."""
        return {name: self.values["experiments"][name] for name in self.values["run"]}

    def networks(self) -> list[Network]:
        return _unique(
            Network(*pair)
            for entry in self.experiments.values()
            for pair in product(entry["models"], entry["trainings"])
            if self.has(*pair)
        )

    def trained_networks(self) -> list[Network]:
        """Return the networks that the workflow trains itself."""
        return [network for network in self.networks() if network.training != PRETRAINED]

    def diagnosed(self) -> list[Network]:
        """Return the networks that are looked into beside being attacked."""
        entries = [entry for entry in self.experiments.values() if entry["diagnose"]]
        networks = _unique(Network(*pair) for entry in entries for pair in product(entry["models"], entry["trainings"]))
        return [network for network in networks if self.has(*network)]

    def evaluations(self, experiment: str) -> list[Evaluation]:
        entry = self.values["experiments"][experiment]
        axes = ("models", "trainings", "sources", "attacks", "preprocessors", "targets")
        points = [Evaluation(*point) for point in product(*(entry[axis] for axis in axes))]
        return [
            point
            for point in points
            if self.has(point.model, point.training)
            and {point.source, point.target} <= set(self.precisions(point.model))
        ]

    def crafted_sound(self) -> list[Craft]:
        """Return the crafting jobs whose adversarial samples can be heard."""
        jobs = _unique(Craft(*e[:4]) for name in self.experiments for e in self.evaluations(name))
        return [job for job in jobs if _of_sound(self.attack(job.attack))]

    def clean_evaluations(self) -> list[tuple[str, str, str, str]]:
        """Return (model, training, preprocessor, target) of every clean evaluation."""
        return _unique(
            point
            for entry in self.experiments.values()
            for point in product(*(entry[axis] for axis in ("models", "trainings", "preprocessors", "targets")))
            if self.has(point[0], point[1]) and point[3] in self.precisions(point[0])
        )

    def preprocessors(self) -> list[str]:
        """Return the preprocessors behind which some network is evaluated, `none` among them."""
        return _unique(preprocessor for _, _, preprocessor, _ in self.clean_evaluations())

    def detections(self) -> list[Detection]:
        axes = ("models", "trainings", "sources", "attacks", "detectors", "targets")
        return _unique(
            Detection(*point)
            for entry in self.experiments.values()
            for point in product(*(entry[axis] for axis in axes))
        )

    def figures(self) -> list[str]:
        """Return the figures that some experiment feeds."""
        return _unique(figure for entry in self.experiments.values() for figure in entry["figures"])

    def feeding(self, figure: str) -> list[str]:
        """Return the experiments that feed a figure."""
        return [name for name, entry in self.experiments.items() if figure in entry["figures"]]


def _unique(items) -> list:
    return list(dict.fromkeys(items))


def load(values: dict[str, Any], schema_path: Path) -> Configuration:
    """Validate a configuration and return it with defaults filled in.

    Raises UserError, with one line, for anything that is wrong: before any job starts.
    """
    schema = schemas.load_schema(schema_path)
    given, values = values, schemas.checked(values, schema, "")
    for name, entry in values["models"].items():
        # a change to a recipe has no defaults: what it leaves out is the training's
        entry["recipes"] = copy.deepcopy(given["models"][name].get("recipes", {}))
    for section, package, parameters in (
        ("trainings", "training", "training_parameters"),
        ("attacks", "attacks", "attack_parameters"),
        ("preprocessors", "defenses", "preprocessor_parameters"),
    ):
        for name, entry in values[section].items():
            _check_method(schema, entry, f"{section}.{name}", package, parameters)
    for precision, part in schema["properties"]["kernels"]["properties"].items():
        values["kernels"].setdefault(precision, part["default"])
    configuration = Configuration(values)
    _check_datasets(configuration)
    _check_models(configuration, schema)
    _check_trainings(configuration)
    for name, entry in values["attacks"].items():
        _take_from_warm_start(name, values["attacks"], given["attacks"])
        _check_attack(name, entry)
        if entry["through"] is not None:
            known = {**values["preprocessors"], **values["detectors"]}
            _known(entry["through"], known, f"attacks.{name}.through", "preprocessor or detector")
    _check_experiments(configuration)
    _check_run(configuration)
    _check_static_samples(configuration)
    _check_diagnostics(configuration)
    return configuration


def _check_method(schema: dict, entry: dict, where: str, package: str, parameters: str) -> None:
    """Check a method and its parameters, and fill in the defaults of these."""
    _known(entry["method"], registry.names(package), f"{where}.method", "method")
    if entry["method"] not in schema["$defs"][parameters]:
        raise UserError(f"schemas/config.schema.yaml: $defs.{parameters} lacks the method '{entry['method']}'")
    rule = schemas.definition(schema, parameters, entry["method"])
    entry["parameters"] = schemas.checked(entry["parameters"], rule, f"{where}.parameters")
    for name, part in rule["properties"].items():
        if part.get("$ref") == "#/$defs/distance":
            entry["parameters"][name] = float(parse_distance(entry["parameters"][name]))


def _known(name: str, known, where: str, kind: str) -> None:
    if name not in known:
        raise UserError(f"{where}: unknown {kind} '{name}'; {did_you_mean(name, known)}")


def _check_datasets(configuration: Configuration) -> None:
    for name, entry in configuration.values["datasets"].items():
        where = f"datasets.{name}"
        _known(entry["format"], registry.names("data.formats"), f"{where}.format", "format")
        try:
            resolved = resolve(entry)
        except UserError as error:
            raise UserError(f"{where}.{error}") from None
        present = files(resolved)
        if entry["path"] is not None:
            if entry["format"] != "image_folder" or present:
                raise UserError(f"{where}.path: is for format: image_folder without source and archive")
        elif entry["format"] not in EMBEDDED and not present:
            raise UserError(
                f"{where}: no archive; name one of the registry (source), your own (archive, checksum) or a folder "
                "(path)"
            )
        if entry.get("archives") and entry["format"] not in SEVERAL:
            raise UserError(f"{where}.archives: the format '{entry['format']}' reads one file; write archive, checksum")
        for file in present.values():
            if not file["archive"]:
                raise UserError(f"{where}.archives: a file has no name; add archive: ...")
            if not file["checksum"]:
                raise UserError(f"{where}: archive '{file['archive']}' has no checksum; add checksum: sha256:...")
            if "/" in file["archive"]:
                raise UserError(
                    f"{where}.archive: '{file['archive']}' is a path; give the file name and list its folder in mirrors"
                )


def _check_models(configuration: Configuration, schema: dict) -> None:
    for name, entry in configuration.values["models"].items():
        where = f"models.{name}"
        _known(entry["dataset"], configuration.values["datasets"], f"{where}.dataset", "data set")
        _check_origin(entry, where)
        for training in entry["recipes"]:
            _known(training, configuration.values["trainings"], f"{where}.recipes", "training")
            recipe = configuration.recipe(name, training)
            _check_method(schema, recipe, f"{where}.recipes.{training}", "training", "training_parameters")
            change = entry["recipes"][training]
            if "parameters" in change:
                change["parameters"] = {key: recipe["parameters"][key] for key in change["parameters"]}


def _check_origin(entry: dict[str, Any], where: str) -> None:
    """Check that a model has either an architecture or files, and no declaration about files without any."""
    if (entry["architecture"] is None) == (entry["files"] is None):
        raise UserError(f"{where}: needs either an architecture or files")
    if entry["files"] is None:
        _known(entry["architecture"], registry.names("models"), f"{where}.architecture", "architecture")
        declared = {**entry["input"], "order": entry["input"]["order"] != "rgb"}
        if any(declared.values()) or entry["labels"] or entry["minimum_accuracy"] is not None:
            raise UserError(f"{where}: input, labels and minimum_accuracy are for a model given by files")


def _check_trainings(configuration: Configuration) -> None:
    trainings = configuration.values["trainings"]
    if PRETRAINED in trainings:
        raise UserError(f"trainings.{PRETRAINED}: stands for models given by files; give the recipe another name")
    for network in product(configuration.values["models"], trainings):
        _check_needs(configuration, [Network(*network)])


def _check_needs(configuration: Configuration, path: list[Network]) -> None:
    """Check the last network of `path`, where each needs the next one to be trained, and all that it needs."""
    model, training = path[-1]
    recipe = configuration.recipe(model, training)
    if recipe["method"] in FINE_TUNING and recipe["initial"] is None:
        raise UserError(f"trainings.{training}.initial: {recipe['method']} fine-tunes; name the training to start from")
    needs = {
        "initial": [Network(model, recipe["initial"])] if recipe["initial"] else [],
        "parameters": configuration.used(model, training),
    }
    for key, network in ((key, network) for key, networks in needs.items() for network in networks):
        where = f"trainings.{training}.{key}"
        _known(network.model, configuration.values["models"], where, "model")
        _known(network.training, configuration.values["trainings"], where, "training")
        if network in path:
            circle = " -> ".join(step.training for step in [*path, network])
            raise UserError(f"trainings.{path[0].training}.{key}: goes round in a circle ({circle})")
        _check_needs(configuration, [*path, network])


def _check_static_samples(configuration: Configuration) -> None:
    values = configuration.values
    for training, entry in values["trainings"].items():
        where = f"trainings.{training}.parameters.static_attacks"
        for name in entry["parameters"].get("static_attacks", []):
            _known(name, values["attacks"], where, "attack")
            attack = values["attacks"][name]
            single = len(attack.get("budgets", [])) == len(attack["seeds"]) == 1
            if not single or attack["lattice"] != "uint8" or attack["warm_start"] or attack["through"]:
                raise UserError(
                    f"{where}: '{name}' has to have one budget, one seed, lattice: uint8, and no warm_start or through"
                )
    for model, training in configuration.trained_networks():
        dataset = configuration.dataset_of(model)
        for ancestor in configuration.ancestors(model, training):
            for source in configuration.used(model, ancestor):
                if configuration.dataset_of(source.model) != dataset:
                    raise UserError(
                        f"trainings.{ancestor}.parameters.sources: {source.model} is not on {dataset}, the data set of "
                        f"{model}; name a model on {dataset}"
                    )


def _check_attack(name: str, entry: dict[str, Any]) -> None:
    where = f"attacks.{name}"
    method = registry.load("attacks", entry["method"])
    if entry["norm"] not in method.NORMS:
        raise UserError(f"{where}.norm: {entry['method']} has no '{entry['norm']}'; known: {', '.join(method.NORMS)}")
    budgets = entry.get("budgets")
    if method.BUDGETED and not budgets:
        raise UserError(f"{where}: {entry['method']} needs budgets, for example [8/255]")
    if budgets and not method.BUDGETED:
        raise UserError(
            f"{where}.budgets: {entry['method']} minimises the distance and takes no budget; remove the key"
        )
    for key, plain in (("estimator", "straight_through"), ("temperature", 1)):
        if entry[key] != plain and method.ACCESS != "white_box":
            raise UserError(f"{where}.{key}: {entry['method']} uses no gradients; remove the key")
    if entry["query_budget"] and method.ACCESS == "white_box":
        raise UserError(
            f"{where}.query_budget: {entry['method']} uses gradients; queries are limited for black-box attacks only"
        )
    for position, budget in enumerate(budgets or []):
        exact = parse_distance(budget)
        if exact <= 0:
            raise UserError(f"{where}.budgets.{position}: {budget} is no distance; expected more than 0")
        if entry["norm"] == "linf" and exact > 1:
            raise UserError(
                f"{where}.budgets.{position}: {budget} exceeds the range of inputs, [0, 1]; did you mean {budget}/255?"
            )
        if entry["lattice"] == "uint8" and entry["norm"] == "linf" and exact < Fraction(1, 255):
            raise UserError(
                f"{where}.budgets.{position}: {budget} is below one 8-bit level (1/255); raise it or set lattice: float"
            )


FROM_WARM_START = ("budgets", "lattice", "samples", "seeds")


def _take_from_warm_start(name: str, attacks: dict[str, dict[str, Any]], given: dict[str, dict[str, Any]]) -> None:
    """Give an attack that begins at another's samples the settings of these."""
    entry, where = attacks[name], f"attacks.{name}"
    if not entry["warm_start"]:
        return
    if not getattr(registry.load("attacks", entry["method"]), "WARM_START", False):
        raise UserError(f"{where}.warm_start: {entry['method']} cannot begin at given samples; pgd can")
    if entry["parameters"]["restarts"] > 1:
        raise UserError(
            f"{where}.warm_start: every restart would begin at the same samples; set parameters.restarts: 1"
        )
    start = entry["warm_start"]["attack"]
    _known(start, attacks, f"{where}.warm_start.attack", "attack")
    if attacks[start]["warm_start"] or attacks[start]["norm"] != entry["norm"]:
        raise UserError(f"{where}.warm_start.attack: {start} has to have norm {entry['norm']} and no warm start itself")
    for key in FROM_WARM_START:
        if key in given[name]:
            raise UserError(f"{where}.{key}: it is that of {start}, where the attack begins; remove the key")
        if key in attacks[start]:
            entry[key] = attacks[start][key]


def _check_experiments(configuration: Configuration) -> None:
    values = configuration.values
    for position, name in enumerate(values["run"]):
        _known(name, values["experiments"], f"run.{position}", "experiment")
    references = {
        "models": values["models"],
        "trainings": {PRETRAINED, *values["trainings"]},
        "attacks": values["attacks"],
        "preprocessors": {NO_PREPROCESSOR, *values["preprocessors"]},
        "detectors": values["detectors"],
        "figures": registry.names("figures"),
    }
    for name, entry in values["detectors"].items():
        if name in (NO_PREPROCESSOR, *values["preprocessors"]):
            raise UserError(f"detectors.{name}: is the name of a preprocessor, too; rename one of them")
        for squeezer in entry["squeezers"]:
            _known(squeezer, values["preprocessors"], f"detectors.{name}.squeezers", "preprocessor")
    for name, entry in values["experiments"].items():
        where = f"experiments.{name}"
        for axis, known in references.items():
            for word in entry[axis]:
                _known(word, known, f"{where}.{axis}", axis.removesuffix("s"))
        for attack in entry["attacks"]:
            through = configuration.through(attack)
            axis = "detectors" if through in values["detectors"] else "preprocessors"
            if through not in (NO_PREPROCESSOR, *entry[axis]):
                raise UserError(
                    f"{where}.{axis}: {attack} is crafted through '{through}', which is not among them; add it"
                )
        for attack, source in product(entry["attacks"], entry["sources"]):
            if source not in INTEGER and values["attacks"][attack]["estimator"] != "straight_through":
                raise UserError(
                    f"attacks.{attack}.estimator: the gradients of {source} need none; {where} may use it with sources "
                    f"{', '.join(INTEGER)} only"
                )
            search = configuration.search_kernels(source, attack)
            if search not in configuration.kernels(source):
                raise UserError(
                    f"attacks.{attack}.search_kernels: '{search}' is not among the kernels on which {source} is "
                    f"evaluated (kernels.{source}: {', '.join(configuration.kernels(source))})"
                )
        for model in entry["models"]:
            if not any(configuration.has(model, training) for training in entry["trainings"]):
                kind = "is given by files" if configuration.is_imported(model) else "is trained here"
                wanted = f"[{PRETRAINED}]" if configuration.is_imported(model) else "its recipes"
                raise UserError(f"{where}.trainings: {model} {kind}; write trainings: {wanted}")
        for attack, model in product(entry["attacks"], entry["models"]):
            _check_classes(configuration, attack, model, f"{where}.attacks")
        for model in entry["models"]:
            _check_features(configuration, model, entry, where)


def _of_sound(attack: dict[str, Any]) -> bool:
    """Return whether an attack changes sound itself instead of features."""
    return getattr(registry.load("attacks", attack["method"]), "OF_SOUND", False)


def _check_features(configuration: Configuration, model: str, experiment: dict[str, Any], where: str) -> None:
    """Check that nothing is asked of features of sound that is for images: 8-bit levels, shifts and mirroring."""
    dataset = configuration.dataset_of(model)
    if configuration.values["datasets"][dataset]["format"] not in FEATURES:
        for attack in experiment["attacks"]:
            if _of_sound(configuration.attack(attack)):
                raise UserError(f"{where}.attacks: '{attack}' attacks sound, but the samples of '{dataset}' are images")
        return
    for attack in experiment["attacks"]:
        if configuration.attack(attack)["lattice"] == "uint8":
            raise UserError(
                f"{where}.attacks: '{attack}' makes 8-bit images, but the samples of '{dataset}' are features; "
                f"set attacks.{attack}.lattice: float"
            )
    if configuration.is_imported(model):
        return
    for training in experiment["trainings"]:
        for recipe in configuration.lineage(model, training) if configuration.has(model, training) else ():
            if recipe["shift"] or recipe["flip"]:
                raise UserError(
                    f"{where}.trainings: '{training}' shifts or mirrors its samples, but those of '{dataset}' are "
                    f"features; set models.{model}.recipes.{training}: {{shift: 0, flip: false}}"
                )


def _check_run(configuration: Configuration) -> None:
    """Check that something is left of each experiment that is run."""
    for name, entry in configuration.experiments.items():
        if not configuration.evaluations(name):
            raise UserError(
                f"experiments.{name}: nothing is left of it: no model has both a source "
                f"({', '.join(entry['sources'])}) and a target ({', '.join(entry['targets'])})"
            )


def check_files(configuration: Configuration) -> None:
    """Check that the files and folders of one's own that are run are there.

    Raises UserError, with one line, for the first that is not. Paths are relative to the working directory.
    """
    for key, file in configuration.imports().items():
        model, _, precision = key.split("/")
        if not Path(file).exists():
            raise UserError(f"models.{model}.files.{precision}: {file}: no such file or folder")
    for name in _unique(configuration.dataset_of(network.model) for network in configuration.networks()):
        path = configuration.values["datasets"][name]["path"]
        if path is not None and not Path(path).is_dir():
            raise UserError(f"datasets.{name}.path: {path}: no such folder")


def _check_classes(configuration: Configuration, attack: str, model: str, where: str) -> None:
    """Check that an attack is defined for the number of classes of a model's data set, as far as it is known."""
    entry, dataset = configuration.attack(attack), configuration.dataset_of(model)
    check = getattr(registry.load("attacks", entry["method"]), "check_classes", None)
    classes = number_of_classes(configuration.values["datasets"][dataset])
    if check is None or classes is None:
        return
    try:
        check(classes, **entry["parameters"])
    except UserError as error:
        raise UserError(f"{where}: '{attack}' does not fit '{model}' (data set '{dataset}'): {error}") from None


def _check_diagnostics(configuration: Configuration) -> None:
    entry, where = configuration.diagnostics, "diagnostics"
    for position, name in enumerate(entry["attacks"]):
        _known(name, configuration.values["attacks"], f"{where}.attacks.{position}", "attack")
        method = registry.load("attacks", configuration.attack(name)["method"])
        if method.BUDGETED or method.ACCESS != "white_box":
            raise UserError(
                f"{where}.attacks.{position}: '{name}' is no minimal-norm attack with gradients; "
                "name one without budgets, such as deepfool, fmn or carlini_wagner"
            )
    if configuration.diagnosed() and not entry["attacks"]:
        raise UserError(f"{where}.attacks: empty; name minimal-norm attacks, or set diagnose: false in the experiments")
    for network in configuration.diagnosed():
        missing = set(PRECISIONS) - set(configuration.precisions(network.model))
        if missing:
            raise UserError(
                f"models.{network.model}.files: has no {min(missing)}, which the diagnostics need; add it, or set "
                "diagnose: false in its experiments"
            )
    for key in ("perturbation_sizes", "surface_radius"):
        values = entry[key] if isinstance(entry[key], list) else [entry[key]]
        if not all(0 < value <= 1 for value in values):
            raise UserError(f"{where}.{key}: a distance is not within (0, 1], the range of inputs; expected e.g. 8/255")
