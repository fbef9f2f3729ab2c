"""The real training script at a size that a test can afford, and a real corpus for it."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import mlx.core
import pytest
from conftest import git

from autoresearch_mlx.experiment import Assignment, Measurement, Progress, Reference, Usual
from autoresearch_mlx.hardware.blas import child_environment, find_blas
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.targets.corpus.prepare import Request, default_cache, find, prepare
from autoresearch_mlx.targets.corpus.rows import Corpus
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.conditions import Conditions

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "autoresearch_mlx" / "targets" / "corpus"
KNOBS = {
    "DEPTH": 1,
    "ASPECT_RATIO": 32,
    "HEAD_DIM": 16,
    "TOTAL_BATCH_SIZE": 256,
    "DEVICE_BATCH_SIZE": 8,
    "VE_GATE_CHANNELS": 8,
}


ANY_SPEED = '[machine]\nclock = "wall"\n'
"""Settings with which even a busy machine ends a budget of half a second on time, and no run waits for quiet."""


@cache
def script(**knobs: object) -> str:
    """Return train_mlx.py with one narrow layer and small batches."""
    return set_knobs((ROOT / "train_mlx.py").read_text(), {**KNOBS, **knobs})


def settings(seconds: float | str, rest: str = "[judge]\nmargin = 0.0\n") -> str:
    """Return the lab.toml of a small lab for :func:`lab`: its text, its budget and, as ``rest``, further sections."""
    data = 'source = "folder"\npath = "{text}"\nvocab_size = 300\nseq_len = 32\neval_rows = 32\n'
    return f"[budget]\nseconds = {seconds}\n\n[data]\n{data}\n{ANY_SPEED}\n{rest}"


def lab(root: Path, toml: str, **knobs: object) -> Lab:
    """Make a lab around the small script; ``{text}`` in its lab.toml becomes a folder of text."""
    root.mkdir()
    (root / "train_mlx.py").write_text(script(**knobs))
    (root / "lab.toml").write_text(toml.format(text=text(root.parent)))
    git(root, "init", "--quiet")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "tiny")
    return Lab(root)


def score(value: float | None) -> object:
    """Return what the score of the same weights on the same rows is equal to.

    Each evaluation draws the order of the rows anew.  With OpenBLAS's kernels for AVX2, a row's product depends on its
    place among the others: sums are rounded differently in the seventh digit.  Its other kernels, and Accelerate, give
    the same bits.
    """
    assert value is not None
    return pytest.approx(value, rel=1e-6)


def text(beside: Path) -> Path:
    """Make a folder of text that no training needs: a copy of some of this package's source."""
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(CODE, beside / "text", dirs_exist_ok=True, ignore=ignore))


def corpus(cache: Path) -> Corpus:
    """Make a corpus of some of this package's source as text: vocabulary 300, rows of 32 tokens.

    It takes some time to build, so it is built once, in the tests' own cache, and copied from there.
    """
    request = Request("folder", CODE, vocab_size=300, seq_len=32, val_rows=32, hidden_rows=16)
    shared = default_cache()
    shared.mkdir(parents=True, exist_ok=True)
    with (shared / "corpus.lock").open("w") as lock:  # other processes run tests too
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = prepare(request, shared, say=lambda text: None).folder
    shutil.copytree(made, cache / made.relative_to(shared), dirs_exist_ok=True)
    found = find(request, cache)
    assert found is not None
    return found


def quick_compiler() -> Path:
    """Return a folder with a g++ that builds MLX's kernels in a fifth of the time, from the same source.

    Each of some sixty kernels includes one large header, which this g++ has compiled once (GCC manual, section 3.22).
    It optimises nothing, because what the kernels compute stays the same and a test runs each of them a few times.
    """
    header = Path(mlx.core.__file__).with_name("include") / "mlx" / "backend" / "cpu" / "compiled_preamble.h"
    compiler, folder = shutil.which("g++"), default_cache() / "compiler"
    if compiler is None or not header.exists():  # a Mac
        return folder
    include = header.parents[3]
    ready = folder / "include" / header.relative_to(include).with_suffix(".h.gch")
    ready.parent.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # other processes run tests too
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (wrapper := folder / "g++").exists():
            options = ["-std=c++17", "-O0", "-Wall", "-fPIC", "-w", "-I", str(include)]
            subprocess.run([compiler, *options, "-x", "c++-header", str(header), "-o", str(ready)], check=True)
            wrapper.write_text(f'#!/bin/sh\nexec {compiler} -I {folder / "include"} "$@" -O0\n')
            wrapper.chmod(0o755)
    return folder


def conditions(corpus: Corpus, cache: Path, **changes: object) -> Conditions:
    machine = read_machine()
    small = Conditions(
        script="train_mlx.py",
        train_rows=corpus.path("train"),
        val_rows=corpus.path("val"),
        token_bytes=corpus.folder / "token_bytes.npy",
        vocab_size=corpus.manifest.vocab_size,
        seq_len=corpus.manifest.seq_len,
        eval_rows=32,
        device="cpu",
        budget_seconds=0.5,
        compile_seconds=10.0,
        evaluate_seconds=300.0,  # for a busy machine
        environment={**child_environment(find_blas(cache, machine)), "OPENBLAS_NUM_THREADS": "1"},
        machine={"device": "cpu"},
    )
    return replace(small, **changes)  # type: ignore[arg-type]


def measure(
    text: str,
    folder: Path,
    under: Conditions,
    seed: int = 42,
    seen: list[Progress] | None = None,
    usual: Usual | None = None,
    reference: Reference | None = None,
) -> Measurement:
    """Make one real training and evaluation of a script's text; ``usual`` is what the baseline took."""
    tree, run = folder / "tree", folder / "run"
    tree.mkdir(parents=True)
    run.mkdir()
    (tree / "train_mlx.py").write_text(text)
    watch = seen.append if seen is not None else (lambda progress: None)
    return Pretrain(under).measure(Assignment(tree, run, seed, watch, usual=usual, reference=reference))
