"""The layers of the library, and which scripts may load TensorFlow."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from qnn_robustness.common.code_hash import LIBRARY, Import, read_source, third_party
from qnn_robustness.common.registry import names
from qnn_robustness.quantization import importing

SCRIPTS = LIBRARY.parent
PACKAGE = LIBRARY.name
# Each package may import itself and those after it.
LAYERS = (
    "configuration",
    "figures",
    "evaluation",
    "defenses",
    "training",
    "attacks",
    "quantization",
    "models",
    "data",
    "common",
)
# Every other script runs TFLite models or tables only. What a job selects by name is not followed here.
TENSORFLOW_SCRIPTS = {
    "train_model.py",
    "train_density_model.py",
    "quantize_model.py",
    "craft_adversarial.py",
    "craft_static.py",
    "convert_float32.py",
    "check_integer_model.py",
    "diagnose_network.py",
}
MODULES = sorted(LIBRARY.rglob("*.py"))


def absolute(path: Path, item: Import) -> list[str]:
    """Return the dotted names an import of a library module may load, most specific last."""
    parts = [*path.relative_to(LIBRARY.parent).parent.parts]
    parts = parts[: len(parts) - item.level + 1] if item.level else []
    module = ".".join([*parts, item.module] if item.module else parts)
    return [module, f"{module}.{item.name}"] if item.name else [module]


def packages_imported(path: Path) -> set[str]:
    """Return the packages of the library that one of its modules imports."""
    found = set()
    for item in read_source(path).imports:
        for name in absolute(path, item):
            parts = name.split(".")
            if parts[0] == PACKAGE and len(parts) > 1:
                found.add(parts[1])
    return found


def name_of(path: Path) -> str:
    return path.relative_to(SCRIPTS).as_posix()


def test_every_package_has_its_layer() -> None:
    packages = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    assert packages == set(LAYERS)
    assert [path.name for path in LIBRARY.glob("*.py")] == ["__init__.py"]


def test_every_folder_with_modules_is_a_package() -> None:
    """Without __init__.py a folder is neither installed nor seen by the code hash."""
    folders = {path.parent for path in MODULES}
    assert [name_of(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_its_own_layer_and_those_after_it(path: Path) -> None:
    layer = path.relative_to(LIBRARY).parts[0]
    allowed = set(LAYERS[LAYERS.index(layer) :]) if layer in LAYERS else set()
    above = packages_imported(path) & set(LAYERS) - allowed
    assert not above, f"{name_of(path)} imports from {sorted(above)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_library_imports_neither_snakemake_nor_the_scripts(path: Path) -> None:
    outside = {"snakemake", "workflow_scripts", *(script.stem for script in SCRIPTS.glob("*.py"))}
    tops = {item.module.split(".")[0] for item in read_source(path).imports if item.level == 0}
    assert not tops & outside - sys.stdlib_module_names


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=name_of)
def test_only_named_scripts_may_load_tensorflow(script: Path) -> None:
    if script.name in TENSORFLOW_SCRIPTS:
        pytest.skip("trains, converts or differentiates a network")
    loaded = third_party(script) & {"tensorflow", "keras"}
    assert not loaded, f"{script.name} reaches {sorted(loaded)}"


def test_integer_networks_are_imported_without_tensorflow() -> None:
    script = SCRIPTS / "import_network.py"
    assert not third_party(script, importing.module_for("int8")) & {"tensorflow", "keras"}
    assert "keras" in third_party(script, importing.module_for("float32"))


@pytest.mark.parametrize("method", names("defenses"))
def test_no_preprocessor_loads_tensorflow(method: str) -> None:
    assert not third_party(SCRIPTS / "evaluate_clean.py", f"{PACKAGE}.defenses.{method}") & {"tensorflow", "keras"}


def test_no_script_hides_an_installed_package() -> None:
    # the scripts' folder comes before site-packages in the jobs and in these tests
    hidden = {script.stem for script in SCRIPTS.glob("*.py")} & set(importlib.metadata.packages_distributions())
    assert not hidden
