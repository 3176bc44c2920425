"""Run a notebook with parameters and export it as a page that needs nothing but itself."""

from __future__ import annotations

import html
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbconvert
import papermill
from nbformat import NotebookNode

KERNEL = "qnn_robustness"
LIBRARY = str(Path(__file__).resolve().parents[2])
STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1, h2, h3 { line-height: 1.25 } a { color: #0b5cad } a.anchor-link { display: none }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin: 1rem 0 }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
thead th { border-bottom: 2px solid #444 }
svg, img { max-width: 100%; height: auto } pre { white-space: pre-wrap }
.output_scroll, .jp-OutputArea, .output { overflow-x: auto }
"""
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style></head>
<body>
{body}
</body>
</html>
"""


def execute(notebook: str | Path, parameters: dict[str, Any]) -> NotebookNode:
    """Run a notebook in the working directory, on this interpreter, and return it with its outputs.

    No kernel has to be installed, and neither the user's kernels nor their IPython settings are used. Time
    stamps, paths and process numbers are left out of the result: equal inputs give equal outputs.

    Raises papermill.PapermillExecutionError, with the traceback of the cell, when a cell fails.
    """
    with _own_kernel():
        done = papermill.execute_notebook(
            str(notebook), None, parameters, kernel_name=KERNEL, progress_bar=False, log_output=False
        )
    done.metadata.pop("papermill", None)
    done.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, cell in enumerate(done.cells):
        cell["id"] = f"cell-{number}"
        cell.metadata = NotebookNode({key: cell.metadata[key] for key in ("tags",) if key in cell.metadata})
    return done


@contextmanager
def _own_kernel() -> Iterator[None]:
    """Give Jupyter a kernel that is this interpreter, and folders of its own, while the block runs."""
    variables = ("JUPYTER_PATH", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR", "MPLBACKEND")
    before = {name: os.environ.get(name) for name in variables}
    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder, "kernels", KERNEL)
        kernel.mkdir(parents=True)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        library = {"PYTHONPATH": os.pathsep.join([LIBRARY, *filter(None, [os.environ.get("PYTHONPATH")])])}
        specification = {"argv": command, "display_name": KERNEL, "language": "python", "env": library}
        (kernel / "kernel.json").write_text(json.dumps(specification), encoding="utf-8")
        os.environ.update(dict.fromkeys(variables[:4], folder), MPLBACKEND="agg")
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def to_html(notebook: NotebookNode) -> str:
    """Return a notebook's texts and outputs, without its code, as a page that loads nothing else."""
    exporter = nbconvert.HTMLExporter(
        template_name="basic", exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True
    )
    body, _ = exporter.from_notebook_node(notebook)
    title = notebook.metadata.get("title", "Report")
    return PAGE.format(title=html.escape(title), style=STYLE, body=body)
