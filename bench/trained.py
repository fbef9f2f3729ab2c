"""Train and evaluate a file in a child process, plainly: the part that ``recipe`` and ``peer`` share.

The child gets the data, the order of the data and the environment of a measurement, without its sandbox and checks.
Seconds are processor seconds of all threads.  A busy machine changes them far less than seconds on a clock.
"""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from autoresearch_mlx.hardware.machine import describe, read_machine
from autoresearch_mlx.hardware.profile import Profile, choose_profile
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.targets.contract import Place
from autoresearch_mlx.targets.pretrain.kind import PretrainKind
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.cuts import rows_per_call
from autoresearch_mlx.trial.runner import child_process_environment
from autoresearch_mlx.trial.spec import Device


@dataclass(frozen=True, slots=True)
class Job:
    """One training and evaluation; it ends after ``steps`` or, if that is None, after ``seconds`` of processor time."""

    script: str
    train_rows: str
    val_rows: str
    token_bytes: str
    eval_rows: int
    vocab_size: int
    seq_len: int
    device: Device
    memory_limit_bytes: int | None
    seed: int
    steps: int | None
    seconds: float = math.inf
    evaluate: bool = True
    peer: str = ""
    """Path of the checkout of a peer, whose training runs instead of ours (see ``peer``)."""


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of a child process."""

    value: float
    """val_bpb, or NaN if it was not evaluated."""
    steps: int
    tokens: int
    """Tokens of the steps after the first one."""
    seconds: float
    """Processor seconds of the steps after the first one."""
    beyond: float
    """Processor seconds of the rest of the process: start, first step and evaluation."""

    @property
    def step_seconds(self) -> float:
        return self.seconds / max(1, self.steps - 1)

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else math.nan


def conditions_for(root: Path, text: Path | None) -> tuple[Conditions, Profile]:
    """Return the conditions of a new session on this machine, on the standard library or on a folder of text."""
    lab, machine = Lab(root), read_machine()
    profile = choose_profile(machine)
    data = {"data.source": "stdlib"} if text is None else {"data.source": "folder", "data.path": str(text)}
    settings = load_settings(lab.root, data).settings
    place = Place(settings, lab, machine, profile, lambda said: click.echo(said, err=True))
    kind = PretrainKind()
    target = kind.build(kind.settle(place), place)
    click.echo(f"{describe(machine)}; profile {profile.name}; {text or 'stdlib'}")
    return target.conditions, profile


def job_for(conditions: Conditions, script: Path, seed: int, steps: int | None, **more: Any) -> Job:
    """Return the job that trains ``script`` under these conditions."""
    return Job(
        script=str(script),
        train_rows=str(conditions.train_rows),
        val_rows=str(conditions.val_rows),
        token_bytes=str(conditions.token_bytes),
        eval_rows=conditions.eval_rows,
        vocab_size=conditions.vocab_size,
        seq_len=conditions.seq_len,
        device=conditions.device,
        memory_limit_bytes=conditions.memory_limit_bytes,
        seed=seed,
        steps=steps,
        **more,
    )


def run(job: Job, conditions: Conditions, *module: str) -> Ran:
    """Run a job in a child process: ``python -m MODULE... --job JSON``, which prints the result as its last line."""
    done = subprocess.run(
        [sys.executable, "-m", *module, "--job", json.dumps(asdict(job))],
        env=child_process_environment(conditions.environment),
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Ran(**json.loads(done.stdout.splitlines()[-1]))


def train(job: Job) -> Ran:
    """Train and evaluate in this process, as a measurement does, but without its checks."""
    import mlx.core as mx

    from autoresearch_mlx.trial.harness import Trial, set_device
    from autoresearch_mlx.trial.serving import RowServer
    from autoresearch_mlx.trial.spec import Events, TrainSpec

    began: list[float] = []

    class FirstStep(Events):
        """Records the end of the first step, in seconds of processor time."""

        def send(self, event: str, **fields: Any) -> None:
            if event == "train":
                began.append(time.process_time())

    set_device(job.device, job.memory_limit_bytes)
    module = imported(Path(job.script))
    with RowServer(Path(job.train_rows), job.seed, may_serve=lambda: True) as server:
        spec = TrainSpec(
            rows=server.theirs,
            vocab_size=job.vocab_size,
            seq_len=job.seq_len,
            seed=job.seed,
            budget_seconds=job.seconds,
            compile_seconds=math.inf,
            launched=time.process_time(),
            start_seconds=math.inf,
            weights="",
            device=job.device,
            steps=job.steps,
        )
        mx.random.seed(job.seed)
        model = module.build_model(job.vocab_size, job.seq_len)
        trial = Trial(spec, FirstStep(), clock=time.process_time)
        module.train(model, trial)
        trial.finish()
        mx.eval(model.parameters())
    seconds = time.process_time() - began[0]
    model.eval()
    value = evaluate(job, model) if job.evaluate else math.nan
    each = trial.tokens_logged // trial.steps_logged
    beyond = time.process_time() - seconds
    return Ran(value, trial.steps_logged, each * (trial.steps_logged - 1), seconds, beyond)


def evaluate(job: Job, model: Any) -> float:
    """Return val_bpb by one pass over the held-out rows in this process; ``model`` maps int32 tokens to logits."""
    import mlx.core as mx

    from autoresearch_mlx.trial.scoring import bits_per_byte, score_on

    rows = np.load(job.val_rows, mmap_mode="r")[: job.eval_rows].astype(np.int32)
    score, weight, nats = score_on(job.device), np.load(job.token_bytes), []
    many = rows_per_call(job.eval_rows, job.seq_len, job.vocab_size)
    for start in range(0, len(rows), many):
        block = rows[start : start + many]
        logits = model(mx.array(block[:, :-1])).astype(mx.float32)
        nats.append(score(np.array(logits, copy=False), "float32", block[:, 1:]).nats)
    targets = rows[:, 1:]
    return bits_per_byte(float(np.concatenate(nats)[weight[targets] > 0].sum(dtype=np.float64)), targets, weight)


def imported(path: Path) -> Any:
    """Return a Python file as a module."""
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module
    found.loader.exec_module(module)
    return module
