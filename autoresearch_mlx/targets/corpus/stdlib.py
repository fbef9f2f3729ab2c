"""The Python standard library as a corpus: about 30 MB of source and documentation on every machine."""

from __future__ import annotations

import importlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

INSTALLED = frozenset({"site-packages", "dist-packages", "__pycache__"})
IN_C = (
    *("array", "atexit", "binascii", "builtins", "cmath", "errno", "fcntl", "gc", "grp", "itertools", "marshal"),
    *("math", "mmap", "posix", "pwd", "pyexpat", "resource", "select", "sys", "syslog", "termios", "time"),
    *("unicodedata", "zlib"),
)
"""Modules without Python source whose import has no effect; those that a build lacks are passed over."""


def root() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def source_files() -> list[Path]:
    """Every .py file of the running interpreter's library, sorted; installed packages are left out."""
    found: list[Path] = []
    for folder, folders, names in os.walk(root()):
        folders[:] = sorted(set(folders) - INSTALLED)
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(file for file in found if file.is_file())


def has_tests() -> bool:
    """Some systems ship the ``test`` package apart; it is more than half of the text."""
    return (root() / "test" / "test_grammar.py").exists()


def docstrings() -> Iterator[str]:
    """One text for each module written in C: its own documentation and that of its members."""
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
