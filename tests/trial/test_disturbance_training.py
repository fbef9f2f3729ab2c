"""A real training process is stopped for some seconds, while its parent runs on."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import tiny_training as tiny

from autoresearch_mlx.experiment import Assignment, Progress
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.disturbance import Vigil

pytestmark = pytest.mark.uncounted


@pytest.mark.slow
def test_a_training_that_was_stopped_alone_shows_in_its_steps(under: Conditions, tmp_path: Path) -> None:
    tree, run = tmp_path / "tree", tmp_path / "run"
    tree.mkdir()
    run.mkdir()
    (tree / "train_mlx.py").write_text(tiny.script())
    seen: set[int | None] = set()
    stopped: list[int] = []

    def watch(progress: Progress) -> None:
        seen.add(progress.step)
        if len(seen) == 10 and not stopped:
            groups = {os.getpgid(child.pid) for child in psutil.Process().children()}
            stopped.extend(groups - {os.getpgrp()})  # the tests' own helpers are in this process group
            for group in stopped:
                os.killpg(group, signal.SIGSTOP)
            threading.Timer(3.2, lambda: [os.killpg(group, signal.SIGCONT) for group in stopped]).start()

    target = Pretrain(replace(under, budget_seconds=6.2))
    with Vigil() as vigil:
        done = target.measure(Assignment(tree, run, 42, vigil.watching(watch)))
        found = vigil.found()
    assert stopped and found.still == 0.0 and found.slept == 0.0
    assert 3.1 < found.gap < 6.0, (found, done.reason)
    assert found.words() == f"no step ended for {found.gap:.0f} s, though the other steps were quick"
