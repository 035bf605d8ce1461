"""Packages that few commands need, and that requirements.txt leaves out."""

import importlib
from types import ModuleType

from runtime.errors import InputError


def extra(name: str) -> ModuleType:
    """The package, imported. Raises InputError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"this needs the package {name}: pip install -r requirements-extras.txt") from None
