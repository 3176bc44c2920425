"""What a job's code is: one hash over a script, the modules it imports, their data files and their pins.

Every rule carries this hash as a parameter. Nothing is imported to compute it: files are parsed, so neither
TensorFlow nor any other package is loaded while the workflow is planned, and the result does not depend on
what is installed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qnn_robustness.common.errors import UserError, did_you_mean

LIBRARY = Path(__file__).resolve().parents[1]
LOCK = LIBRARY.parents[1] / "requirements.lock"

# Import name -> distribution, where the normalised name of the top-level package is not already the answer.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "art": "adversarial-robustness-toolbox",
    "attr": "attrs",
    "backports.strenum": "backports-strenum",
    "bs4": "beautifulsoup4",
    "dateutil": "python-dateutil",
    "git": "gitpython",
    "google.protobuf": "protobuf",
    "grpc": "grpcio",
    "mpl_toolkits": "matplotlib",
    "pylab": "matplotlib",
    "rpds": "rpds-py",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
# Fields of syntax nodes that hold no code, or that only some Python versions have.
_NOT_CODE = {"ctx", "kind", "type_comment", "type_ignores"}
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)\s*(?:;\s*([^\\]*?))?\s*\\?$")


@dataclass(frozen=True)
class Import:
    """What an import statement names: `import module` (name is None) or `from module import name`."""

    place: str
    level: int
    module: str
    name: str | None


@dataclass(frozen=True)
class Source:
    """What a .py or .ipynb file contributes: the hash of its code, its imports, its data files."""

    digest: str
    imports: tuple[Import, ...]
    data_files: tuple[str, ...]


def code_hash(script: str | Path, *modules: str, library: Path | None = None, lock: Path | None = None) -> str:
    """Return the SHA-256 (hexadecimal) of the code which a job runs.

    It covers `script` (.py, or the code cells of an .ipynb), the modules of the package that it imports,
    directly or not, the closures of `modules` (dotted names of registry modules, loaded by name and so not
    seen by following imports), the files named by their `DATA_FILES` constants (a module-level tuple of
    literal paths, relative to the module), and the pins in the lock of all third-party packages imported
    there. Comments, docstrings, formatting, `if TYPE_CHECKING:` blocks, notebook outputs and time stamps
    do not count. The hash is the same on Python 3.11 to 3.13.

    `library` is the folder of the package (default: this one), `lock` its requirements.lock.

    Raises UserError for a missing file or module, a syntax error, or an import that is neither standard
    library, nor the package, nor pinned.
    """
    library, lock = _library(library), _lock(lock)
    files = _reachable(Path(script), modules, library)
    code = {name: read_source(path).digest for path, name in files.items()}
    data = {
        f"{name}: {file}": _sha256(path.parent / file)
        for path, name in files.items()
        for file in read_source(path).data_files
    }
    pins = {name: read_lock(lock)[name] for name in _distributions(files, library, lock)}
    content = json.dumps({"code": code, "data": data, "pins": pins}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def closure(script: str | Path, *modules: str, library: Path | None = None) -> set[Path]:
    """Return the files of code that `code_hash` covers: the script and the modules it reaches."""
    return set(_reachable(Path(script), modules, _library(library)))


def third_party(script: str | Path, *modules: str, library: Path | None = None, lock: Path | None = None) -> set[str]:
    """Return the distributions (normalised names) whose pins `code_hash` covers."""
    library = _library(library)
    return _distributions(_reachable(Path(script), modules, library), library, _lock(lock))


def clear_cache() -> None:
    """Forget all parsed files. Files are read once a process: a workflow parse sees one state of the code."""
    for cached in (read_source, read_lock, _modules, _targets, _sha256):
        cached.cache_clear()


@cache
def read_lock(lock: Path) -> dict[str, tuple[str, ...]]:
    """Return, for each distribution of a requirements lock, its pins as `name==version[ ; marker]`.

    Raises UserError when the file is missing.
    """
    pins: dict[str, list[str]] = {}
    for line in _read_text(lock).splitlines():
        if match := _PIN.match(line):
            name, version, marker = match.groups()
            name = normalised(name)
            pins.setdefault(name, []).append(f"{name}=={version}" + (f" ; {marker}" if marker else ""))
    return {name: tuple(sorted(lines)) for name, lines in pins.items()}


def normalised(name: str) -> str:
    """Return the name of a distribution as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def read_source(path: Path) -> Source:
    """Parse a .py or .ipynb file.

    Raises UserError when it is missing, no valid Python or notebook, or its DATA_FILES is no literal
    tuple of existing files.
    """
    digest, imports, data_files = hashlib.sha256(), [], []
    cells = _notebook_cells(path) if path.suffix == ".ipynb" else [(_read_text(path), "")]
    for text, place in cells:
        tree, writer = _parse(text, path, place), _Writer(place)
        for statement in _running(tree.body):
            digest.update(writer.write(statement).encode())
        imports.extend(writer.imports)
        data_files.extend(_data_files(tree, path))
    return Source(digest.hexdigest(), tuple(imports), tuple(data_files))


def _library(library: Path | None) -> Path:
    return LIBRARY if library is None else Path(library).resolve()


def _lock(lock: Path | None) -> Path:
    return LOCK if lock is None else Path(lock).resolve()


def _reachable(script: Path, modules: tuple[str, ...], library: Path) -> dict[Path, str]:
    """Map every file of the closure to its dotted name; the script's is the empty string."""
    for module in modules:
        if module not in _modules(library):
            raise UserError(f"no module '{module}' in {library}; {did_you_mean(module, _modules(library))}")
    script = script.resolve()
    found = {script: ""}
    waiting = [name for module in modules for name in _with_parents(module)]
    waiting += _targets(script, "", library)
    while waiting:
        name = waiting.pop()
        path = _modules(library)[name]
        if path not in found:
            found[path] = name
            waiting += _targets(path, name, library)
    return found


@cache
def _targets(path: Path, name: str, library: Path) -> tuple[str, ...]:
    """Return the modules of the package that one file imports, with their parent packages."""
    targets = []
    for item in read_source(path).imports:
        module = _absolute(item, path, name, library)
        if module.split(".")[0] != library.name:
            continue
        if module not in _modules(library):
            raise UserError(f"{path}, {item.place}: no module '{module}'; {did_you_mean(module, _modules(library))}")
        targets += _with_parents(module)
        if item.name and f"{module}.{item.name}" in _modules(library):
            targets.append(f"{module}.{item.name}")
    return tuple(dict.fromkeys(targets))


def _absolute(item: Import, path: Path, name: str, library: Path) -> str:
    """Return the absolute name of the module an import statement names."""
    if item.level == 0:
        return item.module
    parts = name.split(".") if name else []
    if path.name == "__init__.py":
        parts.append("")
    parts = parts[: max(0, len(parts) - item.level)]
    if not parts:
        raise UserError(f"{path}, {item.place}: relative import outside the package {library.name}")
    return ".".join([*parts, item.module] if item.module else parts)


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


@cache
def _modules(library: Path) -> dict[str, Path]:
    """Map the dotted name of every module and package of the library to its file."""
    if not (library / "__init__.py").is_file():
        raise UserError(f"{library}: not a Python package (no __init__.py)")
    found = {}
    for path in library.rglob("*.py"):
        if (path.parent / "__init__.py").is_file():
            parts = path.relative_to(library.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _distributions(files: dict[Path, str], library: Path, lock: Path) -> set[str]:
    """Return the pinned distributions that the files import."""
    found = set()
    for path in files:
        for item in read_source(path).imports:
            top = item.module.split(".")[0]
            if item.level or top == library.name or top in sys.stdlib_module_names:
                continue
            distribution = _distribution(f"{item.module}.{item.name}" if item.name else item.module)
            if distribution not in read_lock(lock):
                raise UserError(
                    f"{path}, {item.place}: import of '{item.module}', which is neither standard library nor "
                    f"{library.name} nor pinned in {lock.name}; add '{distribution}' to requirements.in and "
                    f"run `make lock`"
                )
            found.add(distribution)
    return found


def _distribution(module: str) -> str:
    """Return the distribution that provides a dotted import name."""
    known = [name for name in reversed(_with_parents(module)) if name in DISTRIBUTIONS]
    return DISTRIBUTIONS[known[0]] if known else normalised(module.split(".")[0])


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a UTF-8 text file ({error})") from None


def _notebook_cells(path: Path) -> list[tuple[str, str]]:
    """Return (code, place) of each code cell of a notebook."""
    try:
        cells = json.loads(_read_text(path))["cells"]
        return [
            ("".join(cell["source"]), f"cell {number}, ")
            for number, cell in enumerate(cells, start=1)
            if cell["cell_type"] == "code"
        ]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not a Jupyter notebook of format 4") from None


def _parse(text: str, path: Path, place: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:
        if path.suffix == ".ipynb" and (plain := _without_magics(text)) != text:
            return _parse(plain, path, place)
        line = getattr(error, "lineno", None) or 1
        raise UserError(f"{path}, {place}line {line}: {getattr(error, 'msg', error)}") from None


def _without_magics(text: str) -> str:
    """Replace IPython's line magics and shell lines by calls which parse, on the same lines."""
    return re.sub(
        r"^([ \t]*)([%!].*)$",
        lambda match: f"{match[1]}__magic__({match[2]!r})",
        text,
        flags=re.MULTILINE,
    )


def _running(statements: list) -> Iterator:
    """Leave out what does not run: docstrings and other bare strings, `pass`, `if TYPE_CHECKING:` blocks."""
    for node in statements:
        kind = type(node)
        if kind is ast.If and _name(node.test) == "TYPE_CHECKING":
            yield from _running(node.orelse)
        elif kind is not ast.Pass and not (kind is ast.Expr and _is_text(node.value)):
            yield node


def _name(node: ast.expr) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """Merge the literal parts of an f-string: Python 3.12 splits them and adds empty ones."""
    parts: list[ast.expr] = []
    for part in values:
        if isinstance(part, ast.Constant):
            if parts and isinstance(parts[-1], ast.Constant):
                part = ast.Constant(parts.pop().value + part.value)
            if part.value == "":
                continue
        parts.append(part)
    return parts


@cache
def _fields(kind: type[ast.AST]) -> list[str]:
    return [field for field in sorted(kind._fields) if field not in _NOT_CODE]


class _Writer:
    """Writes a syntax tree as text that is the same on every supported Python, and notes the imports in it.

    `ast.unparse` is not the same: Python 3.12 changed its quoting of f-strings. One pass, since all code is
    hashed whenever the workflow is planned.
    """

    def __init__(self, place: str):
        self.place, self.imports = place, []

    def write(self, value: object) -> str:
        if isinstance(value, list):
            return f"[{','.join(map(self.write, value))}]"
        if not isinstance(value, ast.AST):
            return ascii(value)
        kind, fields = type(value), []
        if kind is ast.Import or kind is ast.ImportFrom:
            self._note(value)
        for field in _fields(kind):
            content = getattr(value, field, None)
            if type(content) is list:
                content = _merged(content) if kind is ast.JoinedStr else list(_running(content))
            if content not in (None, []) or kind is ast.Constant:
                fields.append(f"{field}={self.write(content)}")
        return f"{kind.__name__}({','.join(fields)})"

    def _note(self, node: ast.Import | ast.ImportFrom) -> None:
        place = f"{self.place}line {node.lineno}"
        for alias in node.names:
            if isinstance(node, ast.Import):
                self.imports.append(Import(place, 0, alias.name, None))
            else:
                self.imports.append(Import(place, node.level, node.module or "", alias.name))


def _data_files(tree: ast.Module, path: Path) -> Iterator[str]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if not any(isinstance(target, ast.Name) and target.id == "DATA_FILES" for target in targets):
            continue
        place = f"{path}, line {node.lineno}"
        try:
            names = ast.literal_eval(node.value)
        except (ValueError, TypeError):
            names = None
        if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{place}: DATA_FILES must be a literal tuple of paths, such as ('table.yaml',)")
        for name in names:
            if not (path.parent / name).is_file():
                raise UserError(f"{place}: DATA_FILES names '{name}', and {path.parent / name} is no file")
            yield name
