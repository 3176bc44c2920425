"""Copies of the repository in which the workflow is run and planned, and plans as sets of jobs."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = "tests/workflow/tiny.yaml"
HOOKS = "tests/workflow/hooks"
# A change of the configuration: a training that takes static samples.
ENSEMBLE = {
    "attacks": {"static": {"method": "fgsm", "norm": "linf", "budgets": ["16/255"]}},
    "trainings": {
        "ensemble": {
            "method": "ensemble_adversarial",
            "initial": "standard",
            "parameters": {"sources": ["digits_cnn/standard"], "static_attacks": ["static"]},
        }
    },
    "experiments": {"white_box": {"trainings": ["standard", "pgd_adversarial", "ensemble"]}},
}
# Loaded once, in a process that plans are forked from: otherwise nine tenths of a plan are imports.
PRELOADED = ["snakemake.cli", "snakemake.report.html_reporter", "foolbox", "pandas", "jsonschema", "yte", "smart_open"]

_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload(PRELOADED)
_JOB = re.compile(r"^(?:local)?rule (\w+):$((?:\n    .*)*)", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """A planned job. Two are equal when rule and outputs are: only these say which job it is."""

    rule: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...] = field(compare=False)
    wildcards: dict[str, str] = field(compare=False)

    def __repr__(self) -> str:
        return f"{self.rule} -> {self.outputs[0]}"


Plan = frozenset[Job]


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    output: str  # of both streams


class Workflow:
    """A copy of the repository with the configuration of the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def clone(self, folder: Path) -> Workflow:
        """Copy everything, results and Snakemake's records too, with time stamps."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workflow(folder)

    # --- Snakemake -------------------------------------------------------------------------------------

    def plan(self, *arguments: str, change: dict | None = None) -> Plan:
        """Return the jobs that a run would execute; target rules, which make nothing, are no jobs.

        `change` is a configuration to be merged over that of the tests.
        """
        result = self.quick("--dry-run", *arguments, change=change)
        assert result.status == 0, result.output
        return parse(result.output)

    def graph(self, *arguments: str, change: dict | None = None) -> Plan:
        """Return all jobs, whether or not they have to run."""
        return self.plan("--forceall", *arguments, change=change)

    def quick(self, *arguments: str, change: dict | None = None) -> Result:
        """Run Snakemake in a fork, for what runs no jobs: plans and refusals."""
        with tempfile.TemporaryDirectory() as temporary:
            output = Path(temporary, "output.txt")
            command = [*self._arguments(change), *arguments]
            process = _forkserver.Process(target=_main, args=(command, self.folder, self._environment({}), output))
            process.start()
            process.join()
            return Result(process.exitcode, output.read_text())

    def run(self, *arguments: str, change: dict | None = None, **environment: str) -> Result:
        """Run jobs on two cores; variables of the environment are for the hooks and mirrors."""
        process = self.start(*arguments, change=change, **environment)
        output, _ = process.communicate()
        return Result(process.returncode, output)

    def start(self, *arguments: str, change: dict | None = None, **environment: str) -> subprocess.Popen:
        """Start a run in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *self._arguments(change), "--cores", "2", *arguments],
            cwd=self.folder,
            env=self._environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _arguments(self, change: dict | None) -> list[str]:
        if change is None:
            return ["--configfile", TINY]
        path = self.folder / "change.yaml"
        path.write_text(yaml.safe_dump(change))
        return ["--configfile", TINY, path.name]

    def _environment(self, changes: dict[str, str]) -> dict[str, str]:
        unwanted = {"PYTHONPATH", "QNN_DATA_MIRROR", "QNN_MODELS"}
        kept = {name: value for name, value in os.environ.items() if name not in unwanted}
        return {**kept, "PYTHONPATH": str(self.folder / HOOKS), **changes}

    # --- files -----------------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        return self.folder / name

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        """Change the text of a file; a change that changes nothing is a mistake of the test."""
        path = self.folder / name
        before = path.read_text()
        after = change(before)
        assert after != before, f"{name} was not changed"
        path.write_text(after)

    def products(self) -> dict[str, bytes]:
        """Return the content of every file under results/, by name."""
        files = sorted(path for path in (self.folder / "results").rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


@dataclass(frozen=True)
class Finished:
    """A finished run: its folder, all its jobs, and the modules that each job imported."""

    workflow: Workflow
    before: Plan  # planned before anything was made
    graph: Plan
    imported: dict[str, frozenset[str]]  # by the job's first output
    kernels: list[frozenset[str]]  # the same of the notebooks' kernels


def copy_repository(folder: Path) -> Workflow:
    """Copy what version control knows or would take, nothing that was made here."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    return Workflow(folder)


def parse(output: str) -> Plan:
    """Return the jobs in the output of a dry run."""
    jobs = set()
    for rule, text in _JOB.findall(output):
        fields = dict(line.strip().split(": ", 1) for line in text.splitlines() if ": " in line)
        if "output" in fields:
            outputs, inputs, pairs = (_items(fields.get(key, "")) for key in ("output", "input", "wildcards"))
            jobs.add(Job(rule, outputs, inputs, dict(pair.split("=", 1) for pair in pairs)))
    return frozenset(jobs)


def with_dependents(graph: Plan, seeds: Iterable[Job]) -> Plan:
    """Return the jobs `seeds` and all that need their outputs, directly or not."""
    found: set[Job] = set()
    waiting = set(seeds)
    while waiting:
        found |= waiting
        made = {output for job in waiting for output in job.outputs}
        waiting = {job for job in graph if not made.isdisjoint(job.inputs)} - found
    return frozenset(found)


def with_needs(graph: Plan, *outputs: str) -> Plan:
    """Return the jobs that make these files, and all whose outputs they need, directly or not."""
    needed: set[Job] = set()
    waiting = {job for job in graph if not set(outputs).isdisjoint(job.outputs)}
    while waiting:
        needed |= waiting
        read = {name for job in waiting for name in job.inputs}
        waiting = {job for job in graph if not read.isdisjoint(job.outputs)} - needed
    return frozenset(needed)


def of_rules(graph: Plan, *rules: str, **wildcards: str) -> Plan:
    """Return the jobs of these rules (a trailing `*` stands for any ending) with these wildcards."""

    def wanted(job: Job) -> bool:
        named = any(job.rule.startswith(rule[:-1]) if rule.endswith("*") else job.rule == rule for rule in rules)
        return named and all(job.wildcards.get(name) == value for name, value in wildcards.items())

    return frozenset(job for job in graph if wanted(job))


def _items(text: str) -> tuple[str, ...]:
    return tuple(item for item in text.split(", ") if item)


def _main(command: list[str], folder: Path, environment: dict[str, str], output: Path) -> None:
    """Run Snakemake's command line in this process, a fork of the one that has everything loaded."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    from snakemake import cli

    cli.main(command)
