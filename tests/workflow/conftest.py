"""One run of the whole workflow for all tests of this folder; each test works on a copy of it."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))  # its makers of small networks
sys.path.insert(0, str(Path(__file__).parent))

from plan import Finished, Plan, Workflow, copy_repository


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.workflow)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The run, made by the first worker of pytest-xdist that asks for it; the others wait."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    record = folder / "finished.pickle"
    with (folder / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            record.write_bytes(pickle.dumps(_run(folder / "finished")))
    return pickle.loads(record.read_bytes())


def _run(folder: Path) -> Finished:
    workflow = copy_repository(folder / "copy")
    before = workflow.plan()
    records = folder / "records"
    records.mkdir()
    result = workflow.run(TEST_RECORD=str(records))
    assert result.status == 0, result.output
    contents = [json.loads(path.read_text()) for path in records.iterdir()]
    modules = [(content["output"], frozenset(content["modules"])) for content in contents]
    kernels = [names for output, names in modules if output == "kernel"]
    imported = {output: names for output, names in modules if output != "kernel"}
    return Finished(workflow, before, workflow.graph(), imported, kernels)


@pytest.fixture
def workflow(finished: Finished, tmp_path: Path) -> Workflow:
    """A copy of the finished run, to be changed at will."""
    return finished.workflow.clone(tmp_path / "copy")


@pytest.fixture(scope="session")
def graph(finished: Finished) -> Plan:
    return finished.graph


@pytest.fixture
def unmade(workflow: Workflow) -> Workflow:
    """A copy in which nothing was made yet."""
    for folder in ("results", ".snakemake"):
        shutil.rmtree(workflow.path(folder))
    return workflow
