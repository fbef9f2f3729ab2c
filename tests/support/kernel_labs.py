"""Labs for the tests of the target ``kernel``: the example's small script, and ways to run the command in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from conftest import ROOT, command_line

from autoresearch_mlx.experiment import Assignment
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.git import commit_all, init_repository, resolve
from autoresearch_mlx.store.ledger import Ledger
from autoresearch_mlx.store.records import experiment_from
from autoresearch_mlx.targets.kernel.children import surroundings
from autoresearch_mlx.targets.kernel.sliced import sliced
from autoresearch_mlx.targets.kernel.target import KernelTarget
from autoresearch_mlx.targets.kernel.task import KERNEL, REFERENCE, TASK, Array, Task, sealed
from autoresearch_mlx.trial.sandbox.detect import find_sandbox
from autoresearch_mlx.trial.sandbox.limits import Limits

EXAMPLE = ROOT / "examples" / "kernel"


def example_lab(root: Path) -> Path:
    """Copy the example's lab to ``root``."""
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("__pycache__", ".autoresearch"))
    return root


def kernel_json(where: Path, *arguments: str) -> Any:
    """Run ``autoresearch-mlx kernel ARGUMENTS --json`` and return what it prints."""
    done = command_line("kernel", *arguments, "--json", cwd=where)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


CAPPED_LOSS = Task(
    name="capped_loss",
    function="capped_loss",
    parameters=("logits", "targets", "cap"),
    arrays=(Array("logits", "float32", ("N1", "N2")), Array("targets", "int32", ("N1",), below="N2")),
    constants={"cap": 15.0},
    outputs=1,
    differentiated=True,
    sizes={"N1": 96, "N2": 128},
    free=("N1", "N2"),
    odd=({"N1": 95, "N2": 128},),
    tolerance=2e-5,
    typical=2e-6,
    baselines=("eager",),
    script="train_mlx.py",
)
"""The task of the example's slow function."""
FASTER = '''\
"""All rows at once."""

import mlx.core as mx


def kernel(logits, targets, cap):
    """Return the loss of each row.

    One pass.
    """
    capped = cap * mx.tanh(logits / cap)
    chosen = mx.take_along_axis(capped, targets[:, None], axis=-1)[:, 0]
    return mx.logsumexp(capped, axis=-1) - chosen
'''
"""A kernel for that task which is really faster."""


def kept_kernels(root: Path, *sources: str, task: Task = CAPPED_LOSS) -> Path:
    """Make a kernel lab in ``root/kernels`` whose session has kept these texts of kernel.py; return its folder."""
    lab = Lab(root / "kernels" / task.name)
    lab.root.mkdir(parents=True)
    (lab.root / TASK).write_text(task.to_json())
    (lab.root / REFERENCE).write_text(sliced((root / "train_mlx.py").read_text(), task.function, "train_mlx.py"))
    (lab.root / "lab.toml").write_text('[target]\nkind = "kernel"\n')
    init_repository(lab.root)
    lab.make_state()
    folder = lab.folder("night")
    folder.mkdir()
    ledger = Ledger(folder)
    ledger.append("session", tag="night", target="kernel", metric="log_speedup", direction="max", conditions={})
    for number, source in enumerate(sources):
        (lab.root / KERNEL).write_text(source)
        commit_all(lab.root, (KERNEL, REFERENCE, TASK, "lab.toml"), f"experiment {number}")
        commit = resolve(lab.root, "HEAD")
        value = 0.1 * number
        ledger.finish(experiment_from({"number": number, "status": "keep", "value": value, "commit": commit}))
    return lab.root


WAVE_TEXT = (
    "import mlx.core as mx\n\n\ndef wave(x):\n    parts = [mx.tanh(x[row]) * 2 for row in range(x.shape[0])]\n"
    "    return mx.stack(parts)\n"
)
WAVE = Task(
    name="wave",
    function="wave",
    parameters=("x",),
    arrays=(Array("x", "float32", ("N1", "N2")),),
    constants={},
    outputs=1,
    differentiated=False,
    sizes={"N1": 8, "N2": 512},
    free=("N1", "N2"),
    odd=({"N1": 7, "N2": 511},),
    tolerance=2e-5,
    typical=2e-6,
    baselines=("eager",),
)
"""A small task, and the text of its reference, which takes a row at a time."""


def target(tree: Path, task: Task = WAVE, reference: str = WAVE_TEXT) -> KernelTarget:
    """Write a task into ``tree``, and return the target that measures candidates for it."""
    (tree / TASK).write_text(task.to_json())
    (tree / REFERENCE).write_text(reference)
    around = surroundings(read_machine(), "cpu", find_sandbox())
    return KernelTarget(task, sealed(tree), "eager", {"N1": 5, "N2": 300}, 10.0, 120.0, around, Limits())


def candidate(tree: Path, body: str) -> Assignment:
    """Write a candidate ``kernel(x)`` with this body into ``tree``; return the assignment to measure it."""
    return assignment(tree, f"import mlx.core as mx\n\n\ndef kernel(x):\n    {body}\n")


def assignment(tree: Path, text: str) -> Assignment:
    """Write a candidate into ``tree``; return the assignment to measure it."""
    (tree / KERNEL).write_text(text)
    folder = tree / "run"
    folder.mkdir()
    return Assignment(tree, folder, 1, lambda progress: None)


def wave_lab(root: Path) -> Lab:
    """Make a kernel lab with the small task, and a candidate that is right."""
    root.mkdir()
    target(root)
    (root / KERNEL).write_text("import mlx.core as mx\n\n\ndef kernel(x):\n    return 2 * mx.tanh(x)\n")
    (root / "lab.toml").write_text('[target]\nkind = "kernel"\n')
    return Lab(root)
