"""Load classes that users wrote: entry points of an installed package, or classes named as ``module:Class``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any


def offered(group: str) -> Mapping[str, str]:
    """Return the classes that installed packages offer in an entry-point group, as ``{name: "module:Class"}``.

    Imports nothing.
    """
    return {point.name: f"{point.module}:{point.attr}" for point in entry_points(group=group)}


def import_named(where: str, folder: Path) -> Any:
    """Import ``module:Class`` and return the class.

    A user's module is usually in the current directory or in the lab, where an installed command does not search.  So
    the current directory and ``folder``, the lab, are added to the end of the search path.  Errors that the module
    raises during the import are not caught.
    """
    for place in (str(Path.cwd()), str(folder)):
        if place not in sys.path:
            sys.path.append(place)
    module, _, attribute = where.partition(":")
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # no __pycache__ in the person's checkout
    try:
        found: Any = importlib.import_module(module)
    finally:
        sys.dont_write_bytecode = before
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def said(error: BaseException) -> str:
    """Return the class and the message of an error that a user's code raised, as text for a message."""
    return f"{type(error).__name__}: {error}"
