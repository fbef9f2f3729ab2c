"""Compare a machine that wants to join with what the coordinator's lab needs; each refusal names its remedy."""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import autoresearch_mlx
from autoresearch_mlx import __version__
from autoresearch_mlx.hardware.machine import describe, read_machine
from autoresearch_mlx.lab.comparability import minor

LEAST_FREE_BYTES = 10**9


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a machine must have."""

    version: str
    code: str
    """Hash of this package's source: the harness, the evaluator and the targets."""
    python: str
    """Minor version of Python, such as 3.11."""
    mlx: str | None = None
    """Minor version of MLX; None for a target that does not train with it."""


def wanted_here(trains: bool) -> Wanted:
    """Return what machines need to measure as this one does."""
    facts = facts_here(Path.home())
    return Wanted(facts["version"], facts["code"], facts["python"], facts["mlx"] if trains else None)


def facts_here(home: Path) -> dict[str, Any]:
    """Return the facts about this machine that decide on its admission; ``home`` is on the disk of its spool."""
    machine = read_machine()
    return {
        "version": __version__,
        "code": code_hash(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "mlx": minor(machine.mlx),
        "machine": describe(machine),
        "chip": machine.chip,
        "memory_bytes": machine.memory_bytes,
        "free_bytes": shutil.disk_usage(home).free,
    }


def code_hash() -> str:
    """Return one hash over the source files of this package."""
    root = Path(autoresearch_mlx.__file__).parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def refusals(wanted: Wanted, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words why a machine with these facts cannot take part; nothing for one that can."""
    if facts.get("version") != wanted.version:
        yield (
            f"this machine has autoresearch-mlx {facts.get('version')}, the coordinator {wanted.version}: "
            f"`pip install autoresearch-mlx=={wanted.version}` here"
        )
    elif facts.get("code") != wanted.code:
        yield "the package's code differs from the coordinator's: install the same commit on both"
    if facts.get("python") != wanted.python:
        yield f"this machine has Python {facts.get('python')}, the coordinator {wanted.python}: install that version"
    if wanted.mlx is not None and facts.get("mlx") != wanted.mlx:
        have = f"this machine has MLX {facts.get('mlx')}, the coordinator {wanted.mlx}"
        yield f"{have}: `pip install 'mlx~={wanted.mlx}.0'`"
    free = facts.get("free_bytes")
    if isinstance(free, int) and free < LEAST_FREE_BYTES:
        yield f"only {free / 10**9:.1f} GB of disk are free here, and the spool needs {LEAST_FREE_BYTES / 10**9:.0f} GB"
