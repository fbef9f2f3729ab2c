"""Profile one training step on a CPU by part, against the time that its matrix products need: ``python -m bench.step``

    python -m bench.step                                the shipped file with this machine's preset
    python -m bench.step --knob TOTAL_BATCH_SIZE=1024 --knob DEVICE_BATCH_SIZE=4
    python -m bench.step --script edited.py             a file that still has the functions of the shipped one

Each part runs alone, forward and backward, on random inputs of its real shape.  The time is the median processor time
of ``--repeats`` repetitions.  The column ``products`` is the time that the part's matrix products would take at the
speed of a large product on this machine, which is measured in the same process (the roofline).  The rest of a part's
time goes into elementwise functions, sums, copies and gathers.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from autoresearch_mlx.hardware.blas import child_environment, find_blas
from autoresearch_mlx.hardware.machine import describe, read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.lab import SCRIPT
from autoresearch_mlx.lab.source import read_knobs, set_knobs
from autoresearch_mlx.targets.corpus.prepare import default_cache
from bench.baseline import knob_in
from bench.trained import imported

_SIDE = 1024
"""Rows and columns of the large product."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a step: how often it occurs, its seconds each time, and the operations of its products."""

    name: str
    times: int
    seconds: float
    operations: float


@click.command()
@click.option(
    "--script", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Default: the shipped one."
)
@click.option("--knob", "knobs", multiple=True, metavar="NAME=VALUE", help="Set a knob of the script.")
@click.option("--repeats", type=int, default=9, show_default=True)
@click.option("--child", hidden=True, type=click.Path(), help="Run as the child, with this script to profile.")
def main(script: Path | None, knobs: Sequence[str], repeats: int, child: str | None) -> None:
    """Print one row for each part, then the whole step."""
    if child is not None:
        click.echo(json.dumps([asdict(part) for part in parts(Path(child), repeats)]))
        return
    machine = read_machine()
    profile = choose_profile(machine)
    text = (script or asset(SCRIPT)).read_text(encoding="utf-8")
    preset = {name: value for name, value in profile.knobs.items() if name in read_knobs(text)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profiled.py"
        path.write_text(set_knobs(text, {**preset, **dict(knob_in(knob) for knob in knobs)}), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "bench.step", "--repeats", str(repeats), "--child", str(path)],
            env={**os.environ, **child_environment(find_blas(default_cache(), machine))},
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    product, step, *found = (Part(**each) for each in json.loads(done.stdout))
    speed = product.operations / product.seconds
    click.echo(f"{describe(machine)}; a large product: {speed / 1e9:.0f} GFLOP/s")
    click.echo(f"{'part':<44}{'ms':>8}{'share':>8}{'products':>10}")
    for part in [*found, step]:
        spent, needed = part.times * part.seconds, part.times * part.operations / speed
        click.echo(f"{part.name:<44}{1000 * spent:>8.1f}{spent / step.seconds:>8.0%}{1000 * needed:>10.1f}")


def parts(script: Path, repeats: int) -> list[Part]:
    """Return the large product, the whole step, and the parts of the step."""
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten, tree_unflatten

    mx.set_default_device(mx.cpu)
    mx.disable_compile()
    module = imported(script)
    profile = choose_profile(read_machine())
    vocab, length = profile.vocab_size, profile.seq_len
    mx.random.seed(0)
    model = module.build_model(vocab, length)
    # Projections start at zero, so all weights are moved; otherwise some gradients would be zero.
    model.update(
        tree_unflatten([(k, w + 0.02 * mx.random.normal(w.shape)) for k, w in tree_flatten(model.parameters())])
    )
    rows, _ = module.batch_shape(length)
    tokens = mx.random.randint(0, vocab, (rows, length))
    width = model.wte.weight.shape[1]
    stream = mx.random.normal((rows, length, width))
    heads = [mx.random.normal((rows, width // module.HEAD_DIM, length, module.HEAD_DIM)) for _ in range(3)]
    logits = mx.random.normal((rows, length, vocab))
    square = mx.random.normal((_SIDE, _SIDE))
    optimiser = module.Optimiser(module.flat(model))
    grads = {name: mx.random.normal(w.shape) for name, w in module.flat(model).items()}
    now = mx.array([1.0, 0.9, 1.0, 2.0])
    mx.eval(model.parameters(), stream, heads, logits, square, optimiser.state, grads, now)

    def timed(function: Callable[[], Any]) -> float:
        mx.eval(function())
        spent = []
        for _ in range(repeats):
            began = time.process_time()
            mx.eval(function())
            spent.append(time.process_time() - began)
        return statistics.median(spent)

    def both_ways(part: Any, *inputs: Any) -> Callable[[], Any]:
        """Return a function that runs a module or a function forward and backward."""
        if isinstance(part, nn.Module):
            weights = nn.value_and_grad(part, lambda x, *rest: mx.sum(part(x, *rest)))
            return lambda: weights(*inputs)
        found = mx.value_and_grad(lambda *x: mx.sum(part(*x)), list(range(len(inputs))))
        return lambda: found(*inputs)

    step = nn.value_and_grad(model, module.loss_of)
    n, mask = rows * length, model._masks[-1]
    block = 6 * n * width * width

    def whole() -> Any:
        loss, found = step(model, tokens, tokens)
        return loss, optimiser.update(module.flat(model), dict(tree_flatten(found)), now), optimiser.state

    def adamw() -> Any:
        params = module.flat(model)
        return [
            optimiser._adamw(name, params[name], grads[name], now[0], now[3]) for name in optimiser.adam
        ], optimiser.state

    def loss(z: mx.array) -> Any:
        return module.loss_of(lambda tokens: z, tokens, tokens)

    layers = module.DEPTH
    attention = 3 * 2 * 2 * n * length * width
    mlp = int(2 * module.MLP_RATIO)
    whole_products = layers * (4 * block + mlp * block + attention) + 6 * n * width * vocab
    return [
        Part("a large product", 1, timed(lambda: square @ square), 2.0 * _SIDE**3),
        Part("the whole step", 1, timed(whole), whole_products),
        Part("embedding: lookup and norm", 1, timed(both_ways(lambda w: module.norm(w[tokens]), model.wte.weight)), 0),
        Part(
            "attention: scores, softmax, values",
            layers,
            timed(both_ways(lambda q, k, v: module.attend(q, k, v, mask), *heads)),
            attention,
        ),
        Part(
            "attention: projections, rotation, norms, too",
            layers,
            timed(both_ways(model.blocks[-1].attention, stream, None, mask)),
            attention + 4 * block,
        ),
        Part("MLP", layers, timed(both_ways(model.blocks[-1].mlp, stream)), mlp * block),
        Part("head", 1, timed(both_ways(lambda x, w: x @ w.T, stream, model.lm_head.weight)), 6 * n * width * vocab),
        Part("loss", 1, timed(both_ways(loss, logits)), 0),
        Part("AdamW", 1, timed(adamw), 0),
        Part(
            "AdamW and Muon", 1, timed(lambda: (optimiser.update(module.flat(model), grads, now), optimiser.state)), 0
        ),
    ]


if __name__ == "__main__":
    main()
