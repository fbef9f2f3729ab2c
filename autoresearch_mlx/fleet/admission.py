"""Decide whether a machine may measure for the coordinator's lab; each refusal says what to do."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import autoresearch_mlx
from autoresearch_mlx import __version__
from autoresearch_mlx.fleet.corpora import LARGEST_SENT, corpora_in, digest_of
from autoresearch_mlx.hardware.machine import Machine, describe, read_machine
from autoresearch_mlx.lab.comparability import minor
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, read
from autoresearch_mlx.targets.corpus.prepare import default_cache
from autoresearch_mlx.trial.runner import python_command, trusted_environment

LEAST_FREE_BYTES = 10**9
_TRAINED = ("pretrain", "kernel")
"""Kinds of targets that need MLX."""
_PRODUCT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a machine must have to join a fleet."""

    version: str
    code: str
    """Hash of this package's source: the harness, the evaluator and the targets."""
    python: str
    """Minor version of Python, such as 3.11."""
    mlx: str | None = None
    """Minor version of MLX, or None for a target that does not use MLX."""
    wheel: str | None = None
    """Platform for which the coordinator's MLX was built, if the coordinator is a Mac.

    Other Macs must have MLX for the same platform.
    """
    corpus: str | None = None
    """Hash of the session's corpus and tokenizer, or None if the session needs no corpus."""
    source: str = ""
    """Name of the session's corpus, for `prepare`."""
    run_bytes: int | None = None
    """Memory that a run needs, in bytes, or None if it is unknown."""


def wanted_here(lab: Lab, conditions: Mapping[str, Any] | None = None, run_bytes: int | None = None) -> Wanted:
    """Return what a machine must have to measure for this lab under the ``conditions`` of a session.

    Without ``conditions``, the conditions of the lab's current session are used, if there is a session.
    """
    if conditions is None:
        tag = lab.current()
        path = None if tag is None else lab.folder(tag) / FILE
        conditions = read(path).session["conditions"] if path is not None and path.exists() else {}
    machine, trains = read_machine(), load_settings(lab.root).settings.target.kind in _TRAINED
    hashes = conditions.get("data_sha256")
    return Wanted(
        version=__version__,
        code=code_hash(),
        python=_python(),
        mlx=minor(machine.mlx) if trains else None,
        wheel=machine.wheel if trains else None,
        corpus=digest_of(hashes) if isinstance(hashes, Mapping) else None,
        source=str(conditions.get("source") or ""),
        run_bytes=run_bytes,
    )


def facts_here(home: Path) -> dict[str, Any]:
    """Return the facts about this machine that decide whether a fleet admits it.

    ``home`` is a folder on the disk on which the machine will store its jobs.  If the machine has a GPU, matrix
    products that MLX computes on the GPU are compared with numpy's products, which takes a few seconds.
    """
    machine = read_machine()
    return {
        "version": __version__,
        "code": code_hash(),
        "python": _python(),
        "mlx": minor(machine.mlx),
        "wheel": machine.wheel,
        "machine": describe(machine),
        "chip": machine.chip,
        "memory_bytes": machine.memory_bytes,
        "wrong_products": _wrong_products(machine),
        **space(home),
    }


def space(home: Path) -> dict[str, Any]:
    """Return the facts about this machine that may change while it takes part in a fleet: its disk and its corpora."""
    return {"free_bytes": shutil.disk_usage(home).free, "corpora": sorted(corpora_in(default_cache()))}


def code_hash() -> str:
    """Return one hash of all source files of this package."""
    root = Path(autoresearch_mlx.__file__).parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def refusals(wanted: Wanted, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield each reason why a machine with ``facts`` cannot take part, with what the user can do about it."""
    if facts.get("version") != wanted.version:
        yield (
            f"this machine has autoresearch-mlx {facts.get('version')}, the coordinator {wanted.version}: "
            f"run `pip install autoresearch-mlx=={wanted.version}` here"
        )
    elif facts.get("code") != wanted.code:
        yield "the package's code differs from the coordinator's: install the same commit on both machines"
    if facts.get("python") != wanted.python:
        have = f"this machine has Python {facts.get('python')}, the coordinator {wanted.python}"
        yield f"{have}: install Python {wanted.python} here"
    if wanted.mlx is not None and facts.get("mlx") != wanted.mlx:
        have = f"this machine has MLX {facts.get('mlx')}, the coordinator {wanted.mlx}"
        yield f"{have}: run `pip install 'mlx~={wanted.mlx}.0'` here"
    if wanted.wheel is not None and facts.get("wheel") not in (None, wanted.wheel):
        yield (
            f"MLX is built for {facts.get('wheel')} on this machine and for {wanted.wheel} on the coordinator, and "
            "the kernels differ: run `pip install --force-reinstall mlx` on both machines, under the same macOS"
        )
    if wanted.corpus is not None and wanted.corpus not in (facts.get("corpora") or ()):
        yield (
            f"this machine does not have the session's corpus (hash {wanted.corpus}), and the coordinator sends only "
            f"corpora of up to {LARGEST_SENT / 10**9:.0f} GB: run `autoresearch-mlx prepare {wanted.source}` "
            "here, as on the coordinator, or copy the folder `corpora` from the coordinator's cache"
        )
    if wrong := facts.get("wrong_products"):
        yield f"MLX computes wrong products on this GPU ({wrong}): install MLX's released build, `pip install mlx`"
    yield from _too_small(wanted, facts)


def _too_small(wanted: Wanted, facts: Mapping[str, Any]) -> Iterator[str]:
    memory, free = facts.get("memory_bytes"), facts.get("free_bytes")
    if wanted.run_bytes is not None and isinstance(memory, int) and memory < wanted.run_bytes:
        need, have = (f"{size / 2**30:.1f} GB" for size in (wanted.run_bytes, memory))
        advice = "leave this machine out, or make the runs smaller"
        yield f"a run takes {need} of memory, and this machine has {have}: {advice}"
    if isinstance(free, int) and free < LEAST_FREE_BYTES:
        yield (
            f"only {free / 10**9:.1f} GB of disk are free, and the spool needs {LEAST_FREE_BYTES / 10**9:.0f} GB: "
            "free some space, or choose another disk with --home"
        )


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _wrong_products(machine: Machine) -> str:
    """Return the matrix products that MLX computes wrongly on the GPU, as text.

    The text is empty if all products are right, or if the machine has no GPU.
    """
    if machine.gpu is None:
        return ""
    from autoresearch_mlx.setup.selftest.machine_checks import judge_products

    command = python_command("-m", "autoresearch_mlx.setup.selftest.device", "gpu")
    try:
        done = subprocess.run(
            command, env=trusted_environment({}), capture_output=True, text=True, timeout=_PRODUCT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"no result within {_PRODUCT_SECONDS:.0f} s"
    found = judge_products(done.stdout, done.returncode, done.stderr, "gpu")
    return "" if found.state == "ok" else found.words
