"""Measure what a run costs beyond its training, phase by phase: ``python -m bench.overhead [--seconds 20] [--runs 3]``

The script trains the checkout's train_mlx.py with the machine's preset on the text of Python's standard library, as the
loop would, and evaluates it.  For each phase two figures are printed: seconds by the clock, and seconds of processor
time of the child processes, which depend less on what else the machine does.  The parts of the evaluation are then
measured on their own, with the same commands: the start of the scorer, the start of a model's process until its first
answer, and one call of rows.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from autoresearch_mlx.experiment import Assignment
from autoresearch_mlx.hardware.machine import describe, read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import SCRIPT, Lab
from autoresearch_mlx.loop.session import preset_text
from autoresearch_mlx.targets.contract import Place
from autoresearch_mlx.targets.pretrain.kind import PretrainKind
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.evaluation import Evaluation
from autoresearch_mlx.trial.exchange import Frame, Respondent
from autoresearch_mlx.trial.runner import Log, python_command, trusted_environment
from autoresearch_mlx.trial.sandbox.detect import Sandbox, find_sandbox
from autoresearch_mlx.trial.spec import EvalSpec, read_eval_spec
from autoresearch_mlx.trial.training import Training

ALLOWED_PERCENT = 12.0
"""Largest share, in percent, that a run of 20 s on two free cores should cost beyond its training."""
_CALLS = 10


@dataclass(frozen=True, slots=True)
class Part:
    """One phase of a run."""

    name: str
    seconds: float
    processor: float | None = None
    """Processor seconds of the child processes, or None if they cannot be told apart from those of the next phase."""


@click.command()
@click.option("--seconds", type=float, default=20.0, show_default=True, help="Training time of a run.")
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True)
def main(seconds: float, runs: int) -> None:
    """Print the phases of each run, the share beyond training, and the parts of one evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        conditions = conditions_here(root, seconds)
        click.echo(f"{describe(read_machine())}; {seconds:g} s of training, {conditions.eval_rows} rows scored")
        shares = []
        for number in range(runs):
            parts, assignment = one_run(conditions, root, number)
            trained = next(part.seconds for part in parts if part.name == "training")
            beyond = sum(part.seconds for part in parts) - trained
            shares.append(100 * beyond / trained)
            click.echo(f"run {number + 1}: {'; '.join(map(_words, parts))}; beyond training {shares[-1]:.1f} %")
        click.echo(f"beyond training: median {statistics.median(shares):.1f} %; allowed {ALLOWED_PERCENT:g} %")
        spec = read_eval_spec(str(assignment.folder / "evaluate.json"))
        click.echo("parts of an evaluation:")
        for part in parts_of_evaluation(spec, conditions):
            click.echo(f"  {_words(part)}")


def conditions_here(root: Path, seconds: float) -> Conditions:
    """Return this machine's conditions, and prepare the text if that was never done."""
    machine = read_machine()
    profile = choose_profile(machine)
    settings = load_settings(root, {"data.source": "stdlib", "budget.seconds": seconds}).settings
    place = Place(settings, Lab(root), machine, profile, lambda text: click.echo(text, err=True))
    kind = PretrainKind()
    conditions = kind.build(kind.settle(place), place).conditions
    (root / SCRIPT).write_text(preset_text(asset(SCRIPT).read_text(), profile.knobs))
    box = find_sandbox()
    return replace(conditions, sandbox=box if isinstance(box, Sandbox) else None)


def one_run(conditions: Conditions, root: Path, number: int) -> tuple[list[Part], Assignment]:
    """Train and evaluate once; return the phases and the assignment.  Raises ClickException when the run fails."""
    run = root / f"run{number}"
    run.mkdir()
    assignment = Assignment(root, run, 42 + number, lambda progress: None)
    training, path = Training(conditions, assignment), run / "log.txt"
    before = _processor()
    with Log(path) as log:
        ended = training.run(log)
    if (failure := training.failure(ended, path)) is not None:
        raise click.ClickException(failure[1])
    phases = training.seconds(ended)
    spent = {name: value or 0.0 for name, value in phases.items()}
    between = _processor()
    evaluation = Evaluation(conditions, assignment, training.size())
    with Log(path) as log:
        scored = evaluation.run(log)
    if (failure := evaluation.failure(scored, path)) is not None or evaluation.seconds is None:
        raise click.ClickException(failure[1] if failure else "not measured")
    parts = [
        Part("start and imports", spent["start"]),
        Part("first step", spent["compile"]),
        Part("training", spent["train"], between - before),
        Part("saving", max(0.0, ended.seconds - sum(spent.values()))),
        Part("evaluation", evaluation.seconds, _processor() - between),
    ]
    return parts, assignment


def parts_of_evaluation(spec: EvalSpec, conditions: Conditions) -> list[Part]:
    """Measure the parts of an evaluation one after the other, so that they do not share the cores."""
    code = "import autoresearch_mlx.trial.evaluator"
    before, began = _processor(), time.monotonic()
    subprocess.run(python_command("-c", code), env=trusted_environment(conditions.environment), check=True)
    parts = [Part("start and imports of the scorer", time.monotonic() - began, _processor() - before)]
    rows = np.load(spec.tails, mmap_mode="r", allow_pickle=False)[: spec.rows_per_call, : spec.seq_len].astype(np.int32)
    rows = np.resize(rows, (spec.rows_per_call, spec.seq_len))
    began = time.monotonic()
    with Respondent(
        spec.models[0], spec.environments[0], Frame(spec.rows_per_call, spec.seq_len, spec.vocab_size)
    ) as model:
        model.ask(rows[:1])
        model.answer()
        parts.append(Part("a model's process until its first answer", time.monotonic() - began))
        began = time.monotonic()
        for _ in range(_CALLS):
            model.ask(rows)
            model.answer()
        each = (time.monotonic() - began) / _CALLS
    calls = -(-spec.row_count // spec.rows_per_call) + 2  # rows are scored two calls after their cut copies
    parts.append(Part(f"{calls} calls of {spec.rows_per_call} rows in each of two processes", calls * each))
    return parts


def _words(part: Part) -> str:
    processor = "" if part.processor is None else f" ({part.processor:.2f} s of processor time)"
    return f"{part.name} {part.seconds:.2f} s{processor}"


def _processor() -> float:
    """Return the processor seconds of all ended child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
