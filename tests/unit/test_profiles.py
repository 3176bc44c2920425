"""The profiles agree on what decides whether a job is run again, as Snakemake itself reads them."""

from __future__ import annotations

import re
from argparse import Namespace

import pytest
import yaml
from snakemake.cli import get_argument_parser
from snakemake.settings.enums import RerunTrigger

from qnn_robustness.common.code_hash import LOCK

PROFILES = LOCK.parent / "profiles"
RULES = LOCK.parent / "rules"
# They load a network of whatever precision, and with it TensorFlow.
LOADING = {
    "train_model",
    "train_density_model",
    "craft_static",
    "quantize_model",
    "convert_float32",
    "import_network",
    "craft_adversarial",
    "evaluate_clean",
    "evaluate_adversarial",
    "detect_clean",
    "detect_adversarial",
    "diagnose_network",
    "check_integer_model",
}
NAMES = sorted(folder.name for folder in PROFILES.iterdir() if folder.is_dir())


def written(name: str) -> dict:
    return yaml.safe_load((PROFILES / name / "profile.yaml").read_text())


def parsed(name: str) -> Namespace:
    return get_argument_parser(profiles=[str(PROFILES / name)]).parse_args([])


def test_there_are_a_default_and_a_slurm_profile() -> None:
    assert {"default", "slurm"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_repeats_the_settings_of_the_default(name: str) -> None:
    own = written(name)
    assert {key: own.get(key) for key in written("default")} == written("default")


@pytest.mark.parametrize("name", NAMES)
def test_snakemake_reads_what_the_profile_says(name: str) -> None:
    read = parsed(name)
    assert set(read.rerun_triggers) == set(RerunTrigger.all()) - {RerunTrigger.CODE}
    assert read.rerun_incomplete
    assert read.scheduler == "greedy"
    assert read.show_failed_logs
    assert not read.printshellcmds


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_has_only_options_of_snakemake(name: str) -> None:
    known = set(vars(get_argument_parser().parse_args([])))
    assert {key.replace("-", "_") for key in written(name)} <= known


def test_the_default_leaves_the_number_of_cores_and_keep_going_to_the_user() -> None:
    assert not {"cores", "jobs", "keep-going"} & set(written("default"))


def test_the_slurm_profile_caps_groups_and_does_without_accounting() -> None:
    read = parsed("slurm")
    assert (read.executor, read.slurm_status_command) == ("slurm", "squeue")
    assert read.cores
    assert read.retries == 1


def test_rules_that_load_networks_ask_for_memory() -> None:
    """A profile's default would be lost with --default-resources, and Snakemake's own is 1000 MB."""
    texts = [text for path in RULES.glob("*.smk") for text in re.split(r"^ *rule\b", path.read_text(), flags=re.M)]
    asking = {}
    for text in texts:
        for script in re.findall(r'"\.\./workflow_scripts/(\w+)\.py"', text):
            asking[script] = "mem_mb=MEMORY," in text
    assert {script for script, asks in asking.items() if asks} == LOADING


@pytest.mark.parametrize("name", NAMES)
def test_no_profile_limits_memory_on_one_machine(name: str) -> None:
    assert "mem_mb" not in parsed(name).resources
