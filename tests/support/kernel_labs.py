"""Labs for the tests of the target ``kernel``: the example's small script, and ways to run the command in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from conftest import ROOT, command_line

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import Ledger
from autoresearch_mlx.store.records import experiment_from
from autoresearch_mlx.store.workspace import commit_all, init_repository, resolve
from autoresearch_mlx.targets.kernel.sliced import sliced
from autoresearch_mlx.targets.kernel.task import KERNEL, REFERENCE, TASK, Array, Task

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
"""A kernel for it that is really faster."""


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
