"""Registries by convention: the modules of a package are its entries, and a name in the configuration is a module.

Entries are imported by name, so that a job depends on the module it selects and on no other entry.
Subpackages hold what entries share and are no entries.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from qnn_robustness.common.errors import UserError, did_you_mean


@cache  # a plan asks thousands of times
def names(package: str) -> tuple[str, ...]:
    """Return the entries of `qnn_robustness.<package>`, sorted."""
    root = importlib.import_module(f"qnn_robustness.{package}")
    return tuple(sorted(module.name for module in pkgutil.iter_modules(root.__path__) if not module.ispkg))


def module_name(package: str, name: str) -> str:
    """Return the dotted name of an entry.

    Raises UserError, with the closest known name, when there is no such entry.
    """
    known = names(package)
    if name not in known:
        raise UserError(f"unknown entry '{name}' of {package}: {did_you_mean(name, known)}")
    return f"qnn_robustness.{package}.{name}"


def load(package: str, name: str) -> ModuleType:
    """Import and return an entry's module.

    Raises UserError when there is no such entry, or when its file imports what is not there.
    """
    module = module_name(package, name)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{module.replace('.', '/')}.py: cannot be imported: {error}") from error
