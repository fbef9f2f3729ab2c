"""Load a user's own classes: offered by an installed package as an entry point, or named as ``module:Class``."""

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

    An installed command searches neither the current directory nor the lab, where a user's own module usually lies, so
    both are added to the end of the search path.  Any error that the module raises while it is imported passes through.
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
    """Return an error raised by other people's code as one line: its class and its message."""
    return f"{type(error).__name__}: {error}"
