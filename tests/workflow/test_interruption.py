"""A run that is killed in the middle of a write, or that fails, leaves nothing that counts as finished."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from plan import Plan, Workflow, with_dependents

CRAFTED = "results/adversarial/digits_cnn/standard/int8/hop_skip_jump_l2.npz"
FLOAT32 = "results/models/digits_cnn/standard/float32.keras"
QUANTIZED = "results/models/digits_cnn/standard/int8.tflite"
SIDECAR = "results/models/digits_cnn/standard/int8.json"
TABLE = "results/tables/clean_accuracy.csv"
ALLOWANCE_SECONDS = 240


def kill_while_writing(workflow: Workflow, name: str, *targets: str) -> None:
    """Run the targets, and kill the whole process group when half of the file `name` is written."""
    marker = workflow.path("marker")
    process = workflow.start(*targets, TEST_STALL=Path(name).name, TEST_MARKER=str(marker))
    deadline = time.monotonic() + ALLOWANCE_SECONDS
    while not marker.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    output, _ = process.communicate()
    assert marker.exists(), output
    marker.unlink()


def makers(graph: Plan, *names: str) -> set:
    return {job for job in graph if not set(names).isdisjoint(job.outputs)}


@pytest.mark.parametrize(
    ("lost", "cut"),
    [((CRAFTED,), CRAFTED), ((QUANTIZED, SIDECAR), SIDECAR), ((TABLE,), TABLE)],
    ids=["samples", "second-output", "table"],
)
def test_a_killed_run_is_completed_by_the_next_one(
    workflow: Workflow, graph: Plan, lost: tuple[str, ...], cut: str
) -> None:
    undisturbed = workflow.products()
    for name in lost:
        workflow.path(name).unlink()

    kill_while_writing(workflow, cut, *lost)

    assert not workflow.path(cut).exists()
    unchanged = {name: content for name, content in undisturbed.items() if name not in lost}
    left = workflow.products()
    assert {name: left[name] for name in unchanged} == unchanged, "nothing was made from what is missing"
    assert workflow.plan() == with_dependents(graph, makers(graph, *lost))

    result = workflow.run(*lost)
    assert result.status == 0, result.output
    assert workflow.products() == undisturbed
    assert workflow.plan() == frozenset(), "equal content is no change for what depends on it"


def test_a_full_disk_ends_in_one_line_and_nothing_is_made_from_what_is_missing(workflow: Workflow, graph: Plan) -> None:
    before = workflow.products()
    workflow.path(CRAFTED).unlink()
    result = workflow.run("--keep-going", TEST_FULL=Path(CRAFTED).name)
    assert result.status != 0
    line = f"error: {CRAFTED}: no space left on the disk; free some space and run the same command again"
    assert result.output.splitlines().count(line) == 1
    assert "Traceback" not in result.output
    assert workflow.products() == {name: content for name, content in before.items() if name != CRAFTED}
    assert workflow.plan() == with_dependents(graph, makers(graph, CRAFTED))


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
