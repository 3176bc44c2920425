"""A run that is killed in the middle of a write, or that fails, leaves nothing that counts as finished."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from plan import Plan, Workflow, with_dependents, with_needs

CRAFTED = "results/adversarial/digits_cnn/standard/int8/hop_skip_jump_fast.npz"
QUANTIZED = "results/models/digits_cnn/standard/int8.tflite"
SIDECAR = "results/models/digits_cnn/standard/int8.json"
CLEAN = "results/tables/clean_accuracy.csv"
DECISIONS = "results/tables/experiments/decision.csv"
ALLOWANCE_SECONDS = 240


def kill_while_writing(workflow: Workflow, name: str, *targets: str, whole: bool) -> None:
    """Run the targets, and kill the `whole` process group or the job alone when half of the file `name` is written."""
    marker = workflow.path("marker")
    process = workflow.start(*targets, TEST_STALL=Path(name).name, TEST_MARKER=str(marker))
    deadline = time.monotonic() + ALLOWANCE_SECONDS
    while not _read(marker) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if whole or not _read(marker):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(int(_read(marker)), signal.SIGKILL)
    output, _ = process.communicate()
    assert marker.exists(), output
    assert process.returncode != 0
    marker.unlink()


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def lose(workflow: Workflow, graph: Plan, first: str, target: str) -> Plan:
    """Remove `first` and what is made from it on the way to `target`; return the jobs that make these."""
    concerned = with_dependents(graph, {job for job in graph if first in job.outputs})
    jobs = frozenset(concerned & with_needs(graph, target))
    for job in jobs:
        for output in job.outputs:
            workflow.path(output).unlink()
    assert workflow.plan(target) == jobs
    return jobs


@pytest.mark.parametrize(
    ("first", "cut", "target", "whole"),
    [(CRAFTED, CRAFTED, DECISIONS, True), (QUANTIZED, SIDECAR, SIDECAR, True), (CLEAN, CLEAN, CLEAN, False)],
    ids=["samples", "second-output", "table-job-alone"],
)
def test_a_killed_run_is_completed_by_the_next_one(
    workflow: Workflow, graph: Plan, first: str, cut: str, target: str, whole: bool
) -> None:
    undisturbed = workflow.products()
    jobs = lose(workflow, graph, first, target)

    kill_while_writing(workflow, cut, target, whole=whole)

    left = {name: content for name, content in workflow.products().items() if ".partial-" not in name}
    made = {output for job in jobs for output in job.outputs}
    assert cut not in left
    assert left == {name: undisturbed[name] for name in undisturbed if name not in made or name in left}
    assert workflow.plan(target) == jobs, "nothing counts as finished"

    result = workflow.run(target)
    assert result.status == 0, result.output
    assert workflow.products() == undisturbed
    assert workflow.plan() == frozenset(), "equal content is no change for what depends on it"


def test_a_plan_is_no_run(workflow: Workflow) -> None:
    workflow.path(".snakemake/running").unlink(missing_ok=True)
    workflow.plan()
    assert not workflow.path(".snakemake/running").exists()


def test_a_full_disk_ends_in_one_line_and_nothing_is_made_from_what_is_missing(workflow: Workflow, graph: Plan) -> None:
    jobs = lose(workflow, graph, CRAFTED, DECISIONS)
    before = workflow.products()
    result = workflow.run("--keep-going", DECISIONS, TEST_FULL=Path(CRAFTED).name)
    assert result.status != 0
    line = f"error: {CRAFTED}: no space left on the disk; free some space and run the same command again"
    assert line in result.output.splitlines()
    assert "Traceback" not in result.output
    assert workflow.products() == before
    assert workflow.plan(DECISIONS) == jobs


def test_a_truncated_file_is_named_in_one_line_and_nothing_is_lost(workflow: Workflow, graph: Plan) -> None:
    before = workflow.products()
    os.truncate(workflow.path(CRAFTED), len(before[CRAFTED]) // 2)
    readers = {job for job in graph if CRAFTED in job.inputs}
    assert workflow.plan() == with_dependents(graph, readers)
    result = workflow.run("--keep-going")
    assert result.status != 0
    lines = {line for line in result.output.splitlines() if line.startswith("error: ")}
    assert len(lines) == 1
    assert lines.pop().startswith(f"error: {CRAFTED}: not a readable .npz file")
    assert "Traceback" not in result.output
    workflow.path(CRAFTED).write_bytes(before[CRAFTED])
    readers_outputs = {output for job in readers for output in job.outputs}
    left = workflow.products()
    kept = {name: content for name, content in before.items() if name not in readers_outputs}
    assert {name: left.get(name) for name in kept} == kept
    assert workflow.plan() == with_dependents(graph, readers)
