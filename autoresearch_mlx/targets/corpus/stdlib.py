"""Use the Python standard library as a corpus: about 30 MB of source and documentation on every machine."""

from __future__ import annotations

import importlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

INSTALLED = frozenset({"site-packages", "dist-packages", "__pycache__"})
CLOSED = ("idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo")
"""Packages of the standard library that no training needs, because neither Python nor MLX nor numpy imports them.

The sandbox keeps the edited code from reading these packages, so that held-out rows can come from their text.
"""
IN_C = (
    *("array", "atexit", "binascii", "builtins", "cmath", "errno", "fcntl", "gc", "grp", "itertools", "marshal"),
    *("math", "mmap", "posix", "pwd", "pyexpat", "resource", "select", "sys", "syslog", "termios", "time"),
    *("unicodedata", "zlib"),
)
"""Modules written in C that are safe to import; modules that this Python lacks are skipped."""


def root() -> Path:
    """Return the folder of the standard library."""
    return Path(sysconfig.get_path("stdlib"))


def source_files() -> list[Path]:
    """Return every .py file of this Python's standard library, sorted, without installed packages."""
    found: list[Path] = []
    for folder, folders, names in os.walk(root()):
        folders[:] = sorted(set(folders) - INSTALLED)
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(file for file in found if file.is_file())


def is_closed(file: Path) -> bool:
    """Return whether the sandbox keeps the edited code from reading this file of the standard library."""
    return file.relative_to(root()).parts[0] in CLOSED


def has_tests() -> bool:
    """Return whether the ``test`` package, which has over half of the text, is installed; some systems ship it
    separately."""
    return (root() / "test" / "test_grammar.py").exists()


def docstrings() -> Iterator[str]:
    """Yield one text for each module written in C: the docstrings of the module and of its members."""
    for name in IN_C:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        entries = [_entry(name, module)]
        for attribute, value in sorted(vars(module).items()):
            if not attribute.startswith("_") and callable(value):
                entries.append(_entry(f"{name}.{attribute}", value))
                entries += _members(f"{name}.{attribute}", value)
        yield "\n\n\n".join(entry for entry in entries if entry)


def _members(name: str, value: object) -> list[str]:
    if not isinstance(value, type):
        return []
    public = (item for item in sorted(vars(value).items()) if not item[0].startswith("_"))
    return [_entry(f"{name}.{attribute}", member) for attribute, member in public]


def _entry(name: str, value: object) -> str:
    documentation = getattr(value, "__doc__", None)
    signature = getattr(value, "__text_signature__", None) or ""
    return f"{name}{signature}\n\n{documentation.strip()}" if isinstance(documentation, str) else ""
