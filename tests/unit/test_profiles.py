"""The profiles agree on what decides whether a job is run again, as Snakemake itself reads them."""

from __future__ import annotations

from argparse import Namespace

import pytest
import yaml
from snakemake.cli import get_argument_parser
from snakemake.settings.enums import RerunTrigger

from qnn_robustness.common.code_hash import LOCK

PROFILES = LOCK.parent / "profiles"
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
