# The validated configuration, and what every rule uses to name its parameters.
import sys
from functools import cache

ROOT = Path(workflow.basedir)
SCRIPTS = ROOT / "workflow_scripts"
MEMORY = 4000  # MB of a job that loads TensorFlow, on a cluster; crafting has been seen to take 2300
sys.path.insert(0, str(SCRIPTS))

from qnn_robustness.common import run_lock
from qnn_robustness.common.code_hash import code_hash
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import sha256_folder, sha256_path
from qnn_robustness.common.registry import module_name
from qnn_robustness.common.vote import MEMBERS, VOTE
from qnn_robustness.configuration.checks.files import check_files, missing_archives
from qnn_robustness.configuration.checks.integer_models import check_integer_models
from qnn_robustness.configuration.loading import load
from qnn_robustness.evaluation.records import target_module
from qnn_robustness.models import reference

try:
    C = load(config, ROOT / "schemas" / "config.schema.yaml")
    check_files(C)
    if workflow.is_main_process:
        check_integer_models(C)
        if C.values["reference_models"] == "reuse":
            reference.read_manifest(ROOT / reference.FOLDER)
except UserError as error:
    sys.exit(f"error: configuration: {error}")  # one line; Snakemake's own error would add a traceback

if workflow.is_main_process:
    for note in [*C.notes(), *missing_archives(C)]:
        print(f"note: {note}", file=sys.stderr)

# While rules are read, `workflow.dryrun` does not know yet.
if workflow.is_main_process and not (workflow.output_settings and workflow.output_settings.dryrun):
    RUNNING = run_lock.hold(Path(".snakemake"))  # so that a run completes what a killed one has left


def ordered(value):
    """Return a parameter with the keys of its mappings in order: Snakemake compares how parameters are written."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    return [ordered(entry) for entry in value] if isinstance(value, list) else value


@cache
def code(script, *modules):
    """Return the hash of a script, what it imports, and the registry modules a job selects."""
    return code_hash(SCRIPTS / script, *modules)


wildcard_constraints:
    dataset="[a-z][a-z0-9_]*",
    density="[a-z][a-z0-9_]*",
    model="[a-z][a-z0-9_]*",
    training="[a-z][a-z0-9_]*",
    source="float32|int16|int8|vote",
    target="float32|int16|int8",
    precision="int16|int8",
    attack="[a-z][a-z0-9_]*",
    preprocessor="[a-z][a-z0-9_]*",
    detector="[a-z][a-z0-9_]*",
    experiment="[a-z][a-z0-9_]*",


# Functions that name inputs and modules; used by the rules of several stages.


def data_of(split):
    return lambda w: f"results/data/{C.dataset_of(w.model)}/{split}.npz"


def network_file(model, training, precision):
    suffix = "keras" if precision == "float32" else "tflite"
    return f"results/models/{model}/{training}/{precision}.{suffix}"


def attacked_files(w):
    """Return the file of the network that is attacked, or those of all that vote."""
    if w.source == VOTE:
        return [network_file(w.model, w.training, member) for member in MEMBERS]
    return network_file(w.model, w.training, w.source)


def detections():
    clean = [f"results/detections/{d.model}/{d.training}/clean/{d.detector}/{d.target}.parquet" for d in C.detections()]
    return [*dict.fromkeys(clean)] + [
        f"results/detections/{d.model}/{d.training}/{d.source}/{d.attack}/{d.detector}/{d.target}.parquet"
        for d in C.detections()
    ]


def clean_file(model, training, preprocessor, target):
    return f"results/evaluations/{model}/{training}/clean/{preprocessor}/{target}.parquet"


def record_file(e):
    return f"results/evaluations/{e.model}/{e.training}/{e.source}/{e.attack}/{e.preprocessor}/{e.target}.parquet"


def records_of(experiment):
    return [record_file(e) for e in C.evaluations(experiment)]


def files_of_examples():
    """Return the files, list by list, of the undefended attacks on their own source that feed the figure `examples`."""
    points = dict.fromkeys(
        e
        for experiment in C.feeding("examples")
        for e in C.evaluations(experiment)
        if e.source == e.target and e.preprocessor == "none"
    )
    folders = [f"{e.model}/{e.training}/{e.source}/{e.attack}" for e in points]
    data = [f"results/data/{C.dataset_of(e.model)}" for e in points]
    return {
        "adversarial": [f"results/adversarial/{folder}.npz" for folder in folders],
        "records": [f"results/evaluations/{folder}/none/{e.target}.parquet" for folder, e in zip(folders, points)],
        "test": [f"{folder}/test.npz" for folder in data],
        "summary": [f"{folder}/summary.json" for folder in data],
    }


def preprocessor_modules(preprocessor):
    method = C.preprocessor(preprocessor)["method"]
    return [module_name("defenses", method)] if method else []


def deployed_networks():
    """Return the integer networks and the votes that are evaluated, each with its files and its defenses."""
    behind = {}
    for model, training, preprocessor, target in C.clean_evaluations():
        behind.setdefault((model, training, target), []).append(preprocessor)
    for d in C.detections():
        defenses = behind.setdefault((d.model, d.training, d.target), [])
        defenses += [d.detector] if d.detector not in defenses else []
    return [
        {
            "model": model,
            "training": training,
            "precision": target,
            "paths": [
                f"results/models/{model}/{training}/{member}.tflite"
                for member in (MEMBERS if target == VOTE else [target])
            ],
            "defenses": defenses,
        }
        for (model, training, target), defenses in behind.items()
        if target != "float32"
    ]


def fronts_of_defenses():
    """Return the entries of the preprocessors behind which each defense runs its network."""
    names = {defense: C.fronts_of(defense) for network in deployed_networks() for defense in network["defenses"]}
    return {defense: [ordered(C.preprocessor(name)) for name in fronts] for defense, fronts in names.items()}


def densities_of_detectors():
    """Return the files of the density models that detectors ask how likely a sample is."""
    files = {d.detector: C.detector_density(d.detector) for d in C.detections()}
    return {detector: file for detector, file in files.items() if file}


def target_modules(w):
    return [target_module(w.target), *preprocessor_modules(w.preprocessor)]


def archives_of(w):
    """Return the downloaded files of a data set by the pool they hold, or its folder; none for embedded data."""
    if C.dataset(w.dataset)["path"]:
        return {"archive": ancient(C.dataset(w.dataset)["path"])}
    return {pool: f"results/downloads/{w.dataset}/{file['archive']}" for pool, file in C.files(w.dataset).items()}


def imported_pattern(*precisions):
    """Return a pattern of the networks of these precisions that are given by files; it matches nothing without any."""
    return "|".join(network for network in C.imports() if network.endswith(precisions)) or "(?!)"


def model_of(network):
    """Return the model in `<model>/<training>/<precision>`."""
    return network.split("/")[0]


def precision_of(network):
    """Return the precision in `<model>/<training>/<precision>`."""
    return network.split("/")[2]


def imported_data(file):
    return lambda w: f"results/data/{C.dataset_of(model_of(w.network))}/{file}"


def static_file(model, training, attack):
    return f"results/static/{model}/{training}/{attack}.npz"


@cache
def stands_in(model, training):
    """Return whether a reference network of the same recipe is kept. That of the same data is up to the job."""
    if C.values["reference_models"] != "reuse":
        return False
    return reference.matching(ROOT, f"{model}/{training}", C.recipe_sha256(model, training)) is not None


def needed_for_training(w):
    """Return what a training uses beside the data: networks to start from or learn from, samples made for others.

    The samples take long to make and are not made where a reference network stands in.
    """
    initial = C.recipe(w.model, w.training)["initial"]
    teacher = C.teacher(w.model, w.training)
    static = [static_file(*samples) for samples in C.static_samples(w.model, w.training)]
    if not all(Path(file).exists() for file in static) and stands_in(w.model, w.training):
        static = []
    return {
        **({"initial": network_file(w.model, initial, "float32")} if initial else {}),
        **({"teacher": network_file(w.model, teacher, "float32")} if teacher else {}),
        **({"static": static} if static else {}),
    }


def warm_start(w):
    """Return the adversarial samples where an attack begins, or nothing."""
    start = C.attack(w.attack)["warm_start"]
    path = "results/adversarial/{model}/{training}/{source}/{attack}.npz"
    return {"warm_start": path.format(model=w.model, training=w.training, **start)} if start else {}


def watched(w):
    """Return the split on which the threshold of the detector is fixed that an attack has to evade, or nothing."""
    dataset = C.dataset_of(w.model)
    return {"validation": f"results/data/{dataset}/validation.npz"} if C.meets_rejection(w.attack) else {}


def training_code(model, training):
    method, architecture = (
        C.recipe(model, training)["method"],
        C.model(model)["architecture"],
    )
    return code(
        "train_model.py",
        module_name("training", method),
        module_name("models", architecture),
    )


def crafted_on(model, training, source):
    """Return the files of all attacks that the grid crafts on one precision of a network."""
    evaluations = [e for name in C.experiments for e in C.evaluations(name)]
    attacks = dict.fromkeys(e.attack for e in evaluations if e[:3] == (model, training, source))
    return [f"results/adversarial/{model}/{training}/{source}/{attack}.npz" for attack in attacks]


def answers(question):
    return [f"results/diagnostics/{n.model}/{n.training}/{question}.parquet" for n in C.diagnosed()]


def boundary_records(model, training):
    """Return the records of each precision under minimal-norm attacks on itself."""
    return [
        f"results/evaluations/{model}/{training}/{precision}/{attack}/none/{precision}.parquet"
        for precision in ("float32", "int16", "int8")
        for attack in C.diagnostics["attacks"]
    ]


def grid_records(model, training):
    """Return the records of all attacks that the experiments run on an undefended network, from precision to precision."""
    points = dict.fromkeys(e for experiment in C.experiments for e in C.evaluations(experiment))
    own = [e for e in points if (e.model, e.training) == (model, training)]
    return [record_file(e) for e in own if e.preprocessor == "none" and VOTE not in (e.source, e.target)]


def judge(w):
    """Return what makes the judge of a detector: precision, kernels, preprocessors and density model."""
    return {
        "target": w.target,
        "kernels": C.kernels(w.target),
        "preprocessors": [ordered(C.preprocessor(name)) for name in C.squeezed(w.detector)],
        "probabilities": w.target != "float32" and C.model(w.model)["output"] == "softmax",
        "density": C.detector_density(w.detector),
    }


def judge_modules(w):
    squeezers = [module for name in C.squeezed(w.detector) for module in preprocessor_modules(name)]
    return [target_module(w.target), *dict.fromkeys(squeezers)]
