"""Measure what the sealed evaluation costs against a plain one, as ratios within one run.

    python -m bench.seal [--rounds 5]

The weights come from a short training of train_mlx.py with this machine's preset, on the text of Python's standard
library.  A plain evaluation is one process that imports the script, makes one pass over the same rows in the same calls
and sums the losses, without checks, sandbox or second process.  The sealed evaluation is the evaluation that a
measurement uses.  The two evaluations take turns, and whole processes are timed, from start to end.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
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
from autoresearch_mlx.trial.cuts import rows_per_call
from autoresearch_mlx.trial.evaluation import Evaluation
from autoresearch_mlx.trial.runner import Log, child_process_environment
from autoresearch_mlx.trial.sandbox.detect import Sandbox, find_sandbox
from autoresearch_mlx.trial.spec import ModelSpec

ALLOWED = 1.35
_STEPS = 10


@click.command()
@click.option("--rounds", type=int, default=5, show_default=True, help="How often each evaluation is measured.")
@click.option("--plain", hidden=True, help="Run as the plain evaluation, with a specification in JSON.")
def main(rounds: int, plain: str | None) -> None:
    """Print a row for each way of evaluating: seconds (median), and the ratio to the first row."""
    if plain is not None:
        click.echo(json.dumps(evaluate_plainly(json.loads(plain))))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        conditions = trained(root)
        click.echo(_what(conditions))
        box = find_sandbox()
        ways: dict[str, Callable[[], float]] = {
            "plain, one process": lambda: plainly(conditions, root, mlx=False),
            "plain, losses by MLX": lambda: plainly(conditions, root, mlx=True),
            "sealed, not confined": lambda: sealed(replace(conditions, sandbox=None), root),
        }
        if isinstance(box, Sandbox):
            ways["sealed and confined"] = lambda: sealed(replace(conditions, sandbox=box), root)
        spent: dict[str, list[float]] = {name: [] for name in ways}
        values: dict[str, float] = {}
        for _ in range(rounds):
            for name, way in ways.items():
                began = time.monotonic()
                values[name] = way()
                spent[name].append(time.monotonic() - began)
    _table(spent, values)


def _what(conditions: Conditions) -> str:
    rows, seq_len, vocab = conditions.eval_rows, conditions.seq_len, conditions.vocab_size
    calls = math.ceil(rows / rows_per_call(rows, seq_len, vocab))
    logits = rows * seq_len * vocab * 4 / 2**20
    sizes = f"{rows} rows of {seq_len} tokens in {calls} calls, vocabulary {vocab}, {logits:,.0f} MiB of logits"
    return f"{describe(read_machine())}; {sizes}"


def _table(spent: dict[str, list[float]], values: dict[str, float]) -> None:
    click.echo(f"{'':<24}{'seconds':>9}{'fastest':>9}{'ratio':>8}{'val_bpb':>12}")
    first = statistics.median(next(iter(spent.values())))
    for name, seconds in spent.items():
        middle = statistics.median(seconds)
        click.echo(f"{name:<24}{middle:>9.2f}{min(seconds):>9.2f}{middle / first:>8.2f}{values[name]:>12.6f}")
    click.echo(f"allowed ratio: {ALLOWED}")


def trained(root: Path) -> Conditions:
    """Return the conditions of this machine's preset, and write the weights of a few steps to ``root``/run."""
    lab, machine = Lab(root), read_machine()
    profile = choose_profile(machine)
    settings = load_settings(lab.root, {"data.source": "stdlib"}).settings
    place = Place(settings, lab, machine, profile, lambda text: click.echo(text, err=True))
    kind = PretrainKind()
    conditions = kind.settle(place)
    target = kind.build(conditions, place)
    (root / SCRIPT).write_text(preset_text(asset(SCRIPT).read_text(), profile.knobs))
    (root / "run").mkdir()
    brief = replace(target.conditions, steps=_STEPS)
    done = replace(target, conditions=brief).measure(
        Assignment(root, root / "run", settings.seed, lambda progress: None)
    )
    if done.value is None:
        raise click.ClickException(f"{done.failure}: {done.reason}")
    return target.conditions


def sealed(conditions: Conditions, root: Path) -> float:
    assignment = Assignment(root, root / "run", 42, lambda progress: None)
    evaluation, path = Evaluation(conditions, assignment), root / "run" / "log.txt"
    with Log(path) as log:
        ended = evaluation.run(log)
    if evaluation.value is None:
        raise click.ClickException(str(evaluation.failure(ended, path)))
    return evaluation.value


def plainly(conditions: Conditions, root: Path, mlx: bool) -> float:
    spec = ModelSpec(
        script=str(root / SCRIPT),
        weights=str(root / "run" / "weights.safetensors"),
        vocab_size=conditions.vocab_size,
        seq_len=conditions.seq_len,
        seed=42,
        device=conditions.device,
        rows_per_call=rows_per_call(conditions.eval_rows, conditions.seq_len, conditions.vocab_size),
        memory_limit_bytes=conditions.memory_limit_bytes,
    )
    data = {
        "rows": str(conditions.val_rows),
        "count": conditions.eval_rows,
        "bytes": str(conditions.token_bytes),
        "mlx": mlx or conditions.device == "gpu",
    }
    text = json.dumps({**data, "model": asdict(spec)})
    done = subprocess.run(
        [sys.executable, "-m", "bench.seal", "--plain", text],
        env=child_process_environment(conditions.environment),
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout))


def evaluate_plainly(told: dict[str, object]) -> float:
    """Evaluate the model plainly, as if it were trusted: one pass over the rows, in this process.  Return the score."""
    import mlx.core as mx

    from autoresearch_mlx.trial.harness import set_device
    from autoresearch_mlx.trial.logits import load
    from autoresearch_mlx.trial.scoring import bits_per_byte, score_on

    spec = ModelSpec(**told["model"])  # type: ignore[arg-type]
    set_device(spec.device, spec.memory_limit_bytes)
    model = load(spec)
    rows = np.load(str(told["rows"]), mmap_mode="r")[: int(str(told["count"]))].astype(np.int32)
    score = score_on("gpu" if told["mlx"] else "cpu")
    nats = []
    for start in range(0, len(rows), spec.rows_per_call):
        block = rows[start : start + spec.rows_per_call]
        logits = model(mx.array(block[:, :-1])).astype(mx.float32)
        nats.append(score(np.array(logits, copy=False), "float32", block[:, 1:]).nats)
    weight, targets = np.load(str(told["bytes"])), rows[:, 1:]
    return bits_per_byte(float(np.concatenate(nats)[weight[targets] > 0].sum(dtype=np.float64)), targets, weight)


if __name__ == "__main__":
    main()
