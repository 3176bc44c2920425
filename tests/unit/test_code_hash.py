"""The code hash against small packages written for each test, and across Python versions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qnn_robustness.common import code_hash as subject
from qnn_robustness.common.code_hash import closure, code_hash, third_party
from qnn_robustness.common.errors import UserError

FILES = {
    "qnn_robustness/__init__.py": "",
    "qnn_robustness/common/__init__.py": '"""Common."""\n',
    "qnn_robustness/common/tools.py": "import os\nimport numpy as np\n\n\ndef half(x):\n    return x / 2\n",
    "qnn_robustness/attacks/__init__.py": "import importlib\n",
    "qnn_robustness/attacks/base.py": "from ..common import tools\nfrom . import loop\n\nSTEPS = 10\n",
    "qnn_robustness/attacks/loop.py": "import qnn_robustness.attacks.base\n",
    "qnn_robustness/attacks/pgd.py": "from .base import STEPS\nimport sklearn.svm\n\nEPS = 8\n",
    "qnn_robustness/attacks/fgsm.py": "from qnn_robustness.attacks import base\n",
    "qnn_robustness/data/__init__.py": "",
    "qnn_robustness/data/registry.py": 'DATA_FILES = ("registry.yaml",)\n',
    "qnn_robustness/data/registry.yaml": "digits: 1\n",
    "qnn_robustness/figures/__init__.py": "",
    "qnn_robustness/figures/plot.py": "import qnn_robustness.data.registry\nimport seaborn\n",
    "craft.py": "from qnn_robustness.attacks.base import STEPS\n\nprint(STEPS)\n",
    "requirements.lock": (
        "numpy==2.0.0 \\\n    --hash=sha256:aa\n    # via -r requirements.in\n"
        "scikit-learn==1.9.1 ; python_full_version < '3.12' \\\n    --hash=sha256:bb\n"
        "scikit-learn==2.0.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:cc\n"
        "seaborn==0.13.2 \\\n    --hash=sha256:dd\n"
        "protobuf==7.36.2 \\\n    --hash=sha256:ee\n"
    ),
}
PGD = "qnn_robustness.attacks.pgd"


class Project:
    """A throwaway package, a script and a lock."""

    def __init__(self, root: Path):
        self.root = root
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def _where(self, lock: bool) -> dict[str, Path]:
        where = {"library": self.root / "qnn_robustness"}
        return {**where, "lock": self.root / "requirements.lock"} if lock else where

    def hash(self, *modules: str, script: str = "craft.py") -> str:
        subject.clear_cache()
        return code_hash(self.root / script, *modules, **self._where(lock=True))

    def closure(self, *modules: str, script: str = "craft.py") -> set[str]:
        subject.clear_cache()
        files = closure(self.root / script, *modules, **self._where(lock=False))
        return {file.relative_to(self.root.resolve()).as_posix() for file in files}

    def third_party(self, *modules: str, script: str = "craft.py") -> set[str]:
        subject.clear_cache()
        return third_party(self.root / script, *modules, **self._where(lock=True))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    yield Project(tmp_path)
    subject.clear_cache()


BASE_CLOSURE = {
    "craft.py",
    "qnn_robustness/__init__.py",
    "qnn_robustness/attacks/__init__.py",
    "qnn_robustness/attacks/base.py",
    "qnn_robustness/attacks/loop.py",
    "qnn_robustness/common/__init__.py",
    "qnn_robustness/common/tools.py",
}


def test_the_closure_follows_relative_imports_parents_and_cycles(project: Project) -> None:
    assert project.closure() == BASE_CLOSURE


def test_a_registry_module_belongs_to_the_closure_of_the_job_that_selects_it(project: Project) -> None:
    assert project.closure(PGD) == BASE_CLOSURE | {"qnn_robustness/attacks/pgd.py"}
    before, with_pgd, with_fgsm = (
        project.hash(),
        project.hash(PGD),
        project.hash("qnn_robustness.attacks.fgsm"),
    )
    assert len({before, with_pgd, with_fgsm}) == 3
    project.replace("qnn_robustness/attacks/pgd.py", "EPS = 8", "EPS = 4")
    assert project.hash() == before
    assert project.hash("qnn_robustness.attacks.fgsm") == with_fgsm
    assert project.hash(PGD) != with_pgd


def test_the_order_of_the_selected_modules_does_not_matter(project: Project) -> None:
    figure = "qnn_robustness.figures.plot"
    assert project.hash(PGD, figure) == project.hash(figure, PGD)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("qnn_robustness/common/tools.py", "return x / 2", "# half of it\n    return (x/2)  # here"),
        ("qnn_robustness/common/tools.py", "def half(x):\n", 'def half(x):\n    """Return half."""\n'),
        ("qnn_robustness/common/__init__.py", "Common.", "What is common."),
        ("qnn_robustness/attacks/base.py", "STEPS = 10", "STEPS = \\\n    10\n\n"),
        ("qnn_robustness/attacks/base.py", "STEPS = 10", 'STEPS = 10\n"""Number of steps."""'),
        (
            "qnn_robustness/attacks/base.py",
            "STEPS",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import missing\nSTEPS",
        ),
        ("craft.py", "print(STEPS)", "print(\n    STEPS,\n)"),
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(project: Project, file: str, old: str, new: str) -> None:
    if "TYPE_CHECKING" in new:  # the import of TYPE_CHECKING itself is code, the block is not
        project.replace(file, "STEPS", "from typing import TYPE_CHECKING\nSTEPS")
        old, new = "STEPS", new.partition("\n")[2]
    before = project.hash()
    project.replace(file, old, new)
    assert project.hash() == before


def test_a_docstring_in_place_of_pass_does_not_count(project: Project) -> None:
    project.write("craft.py", "class Odd(Exception):\n    pass\n")
    before = project.hash()
    project.write("craft.py", 'class Odd(Exception):\n    """Odd input."""\n')
    assert project.hash() == before


def test_touch_and_place_do_not_count(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = project.hash(PGD)
    for file in project.root.rglob("*.py"):
        os.utime(file, (1, 1))
    assert project.hash(PGD) == before
    assert Project(tmp_path_factory.mktemp("elsewhere")).hash(PGD) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("qnn_robustness/common/tools.py", "x / 2", "x / 3"),
        ("qnn_robustness/common/tools.py", "x / 2", "x / 2.0"),
        ("qnn_robustness/__init__.py", "", "X = 1\n"),
        ("qnn_robustness/attacks/loop.py", "import", "X = None\nimport"),
        ("craft.py", "print(STEPS)", "print(STEPS, None)"),
        ("craft.py", "print(STEPS)", "print(f'{STEPS}')"),
    ],
)
def test_an_edit_in_the_closure_is_seen_and_its_reversal_too(project: Project, file: str, old: str, new: str) -> None:
    before, original = project.hash(), (project.root / file).read_text()
    project.replace(file, old, new) if old else project.write(file, new)
    assert project.hash() != before
    project.write(file, original)
    assert project.hash() == before


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("qnn_robustness/attacks/pgd.py", "EPS = 4\n"),
        ("qnn_robustness/data/registry.yaml", "digits: 2\n"),
        ("qnn_robustness/figures/new.py", "import seaborn\n"),
        ("other.py", "import nowhere\n"),
    ],
)
def test_an_edit_outside_the_closure_is_not_seen(project: Project, file: str, text: str) -> None:
    before = project.hash()
    project.write(file, text)
    assert project.hash() == before


def test_imports_inside_functions_count(project: Project) -> None:
    project.write("craft.py", "def run():\n    from qnn_robustness.figures import plot\n")
    assert "qnn_robustness/figures/plot.py" in project.closure()
    assert "qnn_robustness/data/registry.py" in project.closure()


def test_type_checking_blocks_do_not_count_but_their_alternative_does(project: Project) -> None:
    project.write(
        "craft.py",
        "import typing\nif typing.TYPE_CHECKING:\n    import nowhere\nelse:\n    import qnn_robustness.common.tools\n",
    )
    assert "qnn_robustness/common/tools.py" in project.closure()
    assert project.third_party() == {"numpy"}


def test_data_files_count_for_the_modules_that_read_them(project: Project) -> None:
    figure = "qnn_robustness.figures.plot"
    before = project.hash(figure)
    project.write("qnn_robustness/data/registry.yaml", "digits: 2\n")
    changed = project.hash(figure)
    project.write("qnn_robustness/data/registry.yaml", "digits: 1\n")
    assert changed != before == project.hash(figure)


@pytest.mark.parametrize("constant", ['("gone.yaml",)', "tuple(names)", '"registry.yaml"'])
def test_a_wrong_data_files_constant_is_refused(project: Project, constant: str) -> None:
    project.write("qnn_robustness/data/registry.py", f"DATA_FILES = {constant}\n")
    with pytest.raises(UserError, match=r"registry\.py, line 1: DATA_FILES"):
        project.hash("qnn_robustness.data.registry")


def test_pins_of_the_packages_in_the_closure_count(project: Project) -> None:
    assert project.third_party() == {"numpy"}
    assert project.third_party(PGD) == {"numpy", "scikit-learn"}
    before = project.hash(PGD)
    project.replace("requirements.lock", "seaborn==0.13.2", "seaborn==0.14")
    assert project.hash(PGD) == before
    project.replace("requirements.lock", "--hash=sha256:aa", "--hash=sha256:a0")
    assert project.hash(PGD) == before
    project.replace("requirements.lock", "scikit-learn==2.0.0", "scikit-learn==2.0.1")
    assert project.hash(PGD) != before
    project.replace("requirements.lock", "scikit-learn==2.0.1", "scikit-learn==2.0.0")
    assert project.hash(PGD) == before
    project.replace("requirements.lock", "< '3.12'", "< '3.13'")
    assert project.hash(PGD) != before


@pytest.mark.parametrize(
    "statement",
    ["import google.protobuf", "from google import protobuf", "from google.protobuf import text_format"],
)
def test_namespace_packages_map_to_their_distribution(project: Project, statement: str) -> None:
    project.write("craft.py", statement + "\n")
    assert project.third_party() == {"protobuf"}


def test_an_unpinned_import_is_refused_with_file_and_import(project: Project) -> None:
    project.write("craft.py", "import numpy\nimport cleverhans.attacks\n")
    with pytest.raises(UserError, match=r"craft\.py, line 2: import of 'cleverhans\.attacks'"):
        project.hash()


def test_a_missing_module_is_refused_with_a_suggestion(project: Project) -> None:
    with pytest.raises(UserError, match=r"'qnn_robustness\.attacks\.pdg'.*did you mean 'qnn_robustness\.attacks\.pgd'"):
        project.hash("qnn_robustness.attacks.pdg")
    project.write("craft.py", "\nimport qnn_robustness.atacks.pgd\n")
    with pytest.raises(UserError, match=r"craft\.py, line 2: no module 'qnn_robustness\.atacks\.pgd'; did you mean"):
        project.hash()


@pytest.mark.parametrize("statement", ["from . import other", "from ..attacks import pgd"])
def test_a_relative_import_outside_the_package_is_refused(project: Project, statement: str) -> None:
    project.write("craft.py", statement + "\n")
    with pytest.raises(UserError, match=r"craft\.py, line 1: relative import"):
        project.hash()


def test_a_relative_import_above_the_package_is_refused(project: Project) -> None:
    project.write("qnn_robustness/common/tools.py", "from .... import x\n")
    with pytest.raises(UserError, match=r"tools\.py, line 1: relative import"):
        project.hash()


def test_a_syntax_error_is_refused_with_file_and_line(project: Project) -> None:
    project.write("qnn_robustness/common/tools.py", "x = 1\ny = (\nz z\n")
    with pytest.raises(UserError, match=r"tools\.py, line [23]"):
        project.hash()


def test_a_missing_script_is_refused(project: Project) -> None:
    with pytest.raises(UserError, match="no such file"):
        project.hash(script="gone.py")


def notebook(*cells: tuple[str, str], outputs: list | None = None, **metadata: str) -> str:
    return json.dumps(
        {
            "cells": [
                {"cell_type": kind, "source": source.splitlines(keepends=True), "metadata": metadata}
                | ({"outputs": outputs or [], "execution_count": None} if kind == "code" else {})
                for kind, source in cells
            ],
            "metadata": metadata,
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


CODE = "%matplotlib inline\n# a figure\nfrom qnn_robustness.figures import plot\nbudget = 8"


def test_only_the_code_of_a_notebook_counts(project: Project) -> None:
    project.write("report.ipynb", notebook(("markdown", "# Title"), ("code", CODE)))
    before = project.hash(script="report.ipynb")
    assert "qnn_robustness/figures/plot.py" in project.closure(script="report.ipynb")
    assert project.third_party(script="report.ipynb") == {"seaborn"}
    executed = notebook(
        ("markdown", "# Other"),
        ("code", CODE.replace("a figure", "the figure")),
        ("code", "# nothing"),
        outputs=[{"name": "stdout", "output_type": "stream", "text": ["8"]}],
        kernel="python3",
    )
    project.write("report.ipynb", executed)
    assert project.hash(script="report.ipynb") == before
    for old, new in (("= 8", "= 4"), ("inline", "widget")):
        project.write("report.ipynb", notebook(("markdown", "# Title"), ("code", CODE.replace(old, new))))
        assert project.hash(script="report.ipynb") != before


def test_a_broken_notebook_is_refused(project: Project) -> None:
    project.write("report.ipynb", notebook(("markdown", "# Title"), ("code", "x = 1\ny = (")))
    with pytest.raises(UserError, match=r"report\.ipynb, cell 2, line 2"):
        project.hash(script="report.ipynb")
    project.write("report.ipynb", '{"worksheets": []}')
    with pytest.raises(UserError, match="not a Jupyter notebook"):
        project.hash(script="report.ipynb")


SYNTAX = '''
from dataclasses import dataclass

@dataclass
class Row(dict, metaclass=type):
    """Docstring."""
    name: str = "it's"
    def text(self, *args, key=None, **kwargs) -> str:
        """Docstring."""
        width = 3
        return f"{self.name!r:>{width}} {self['key']} {'a' + 'b'} {{}} \\n" f'{key:%Y}' + 'é\\U0001f600'

async def run(items):
    match items:
        case [1, *rest] | {"a": rest} if rest:
            return rest
        case None:
            return (yield)
    try:
        async with open() as f, f as g:
            x = [i async for i in f if (y := i)]
    except* ValueError as error:
        raise error from None
    return lambda a, /, b=-1.5e3, *, c=0x10: a @ b ** c if not a else ...
'''


def runs(python: str, version: str) -> bool:
    probe = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return subprocess.run(probe, capture_output=True, text=True).stdout.strip() == version


def interpreter(version: str) -> str | None:
    """Return a working interpreter of this version (on the PATH or installed by pyenv), if there is one."""
    name = f"python{version}"
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}"))
    candidates = [shutil.which(name), *map(str, installed)]
    return next((python for python in candidates if python and runs(python, version)), None)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_hash_is_the_same_on_every_supported_python(project: Project, version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    project.write("craft.py", SYNTAX + "import qnn_robustness.attacks.pgd\n")
    code = (
        "import sys; from pathlib import Path; from qnn_robustness.common.code_hash import code_hash;"
        "root = Path(sys.argv[1]); lock = root / 'requirements.lock';"
        "print(code_hash(root / 'craft.py', library=root / 'qnn_robustness', lock=lock))"
    )
    path = {**os.environ, "PYTHONPATH": str(subject.LIBRARY.parent)}
    done = subprocess.run([python, "-c", code, str(project.root)], capture_output=True, text=True, check=True, env=path)
    assert done.stdout.strip() == project.hash()


def test_hashing_imports_no_third_party_package(project: Project) -> None:
    code = (
        "import sys; from qnn_robustness.common.code_hash import code_hash; code_hash(sys.argv[1]);"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    script = project.write("script.py", "import tensorflow, numpy\nimport qnn_robustness.common.files\n")
    path = {**os.environ, "PYTHONPATH": str(subject.LIBRARY.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(script)], capture_output=True, text=True, check=True, env=path
    )
    assert not {"tensorflow", "keras", "numpy", "tqdm"} & set(done.stdout.split())


def test_every_import_of_the_project_is_pinned() -> None:
    subject.clear_cache()
    scripts = sorted(subject.LIBRARY.parent.glob("*.py"))
    modules = sorted(subject._modules(subject.LIBRARY))
    for script in [*scripts, subject.LIBRARY / "__init__.py"]:
        assert len(code_hash(script, *modules)) == 64
