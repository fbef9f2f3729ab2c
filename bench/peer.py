"""Measure a peer's training script and ours in turn, at equal size, data, order, seed and BLAS.

    python -m bench.peer CHECKOUT                 a checkout of trevin-creator/autoresearch-mlx or of a fork
    python -m bench.peer CHECKOUT --adapter other_adapter.py --seconds 20

Three trainings take turns.  The first training runs the peer's script.  The second runs our script with the peer's
batch and head size, which gives the ratio of tokens per second.  The third runs our script with this machine's preset,
once for the same time and once for a third of it, which shows whether ours reaches the peer's value in that time.
Times are processor seconds, so a busy machine matters little.  On an idle machine they are close to wall-clock seconds,
because each training uses one thread for its products.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.lab import SCRIPT
from autoresearch_mlx.lab.source import read_knobs, set_knobs
from bench.trained import Job, Ran, conditions_for, imported, job_for, run, train

ADAPTER = Path(__file__).with_name("peer_adapter.py")


@click.command()
@click.argument("checkout", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--adapter", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=ADAPTER)
@click.option("--seconds", type=float, default=60.0, show_default=True, help="Processor seconds of one training.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--first-seed", type=int, default=42, show_default=True)
@click.option("--tokens", type=int, default=2048, show_default=True, help="Tokens per step, for both scripts.")
@click.option("--head-dim", type=int, default=128, show_default=True, help="Head size, for both scripts.")
@click.option("--text", type=click.Path(path_type=Path), help="A folder of text; default: the standard library.")
@click.option("--job", hidden=True, help="Run as the child, with a Job in JSON.")
def main(
    checkout: Path | None,
    adapter: Path,
    seconds: float,
    seeds: int,
    first_seed: int,
    tokens: int,
    head_dim: int,
    text: Path | None,
    job: str | None,
) -> None:
    """Train the script of the peer in CHECKOUT and ours in turn; print speed, val_bpb and the seconds beyond
    training."""
    if job is not None:
        click.echo(json.dumps(asdict(_child(Job(**json.loads(job)), adapter))))
        return
    if checkout is None:
        raise click.UsageError("give the path of a peer's checkout")
    with tempfile.TemporaryDirectory() as folder:
        conditions, profile = conditions_for(Path(folder), text)
        rows = max(1, tokens // conditions.seq_len)
        equal = {**profile.knobs, "TOTAL_BATCH_SIZE": tokens, "DEVICE_BATCH_SIZE": rows, "HEAD_DIM": head_dim}
        files = {"equal": equal, "preset": dict(profile.knobs)}
        scripts = {name: _written(Path(folder) / f"{name}.py", knobs) for name, knobs in files.items()}
        sizes = Path(folder) / "sizes.json"
        sizes.write_text(json.dumps(equal))
        jobs = {
            "peer": job_for(conditions, sizes, first_seed, None, seconds=seconds, peer=str(checkout.absolute())),
            "ours, equal size": job_for(conditions, scripts["equal"], first_seed, None, seconds=seconds),
            "ours, preset": job_for(conditions, scripts["preset"], first_seed, None, seconds=seconds),
            "ours, preset, a third": job_for(conditions, scripts["preset"], first_seed, None, seconds=seconds / 3),
        }
        found: dict[str, list[Ran]] = {name: [] for name in jobs}
        click.echo(f"{'seed':>4}  {'':<22}{'steps':>6}{'tokens/s':>10}{'val_bpb':>9}{'beyond':>8}")
        for seed in range(first_seed, first_seed + seeds):
            for name, each in jobs.items():
                ran = run(replace(each, seed=seed), conditions, "bench.peer", "--adapter", str(adapter.absolute()))
                found[name].append(ran)
                numbers = f"{ran.steps:>6}{ran.tokens_per_second:>10,.0f}{ran.value:>9.4f}{ran.beyond:>8.1f}"
                click.echo(f"{seed:>4}  {name:<22}{numbers}")
    _summary(found)


def _summary(found: dict[str, list[Ran]]) -> None:
    peer, equal, *_ = found.values()
    ratio = statistics.median(o.tokens_per_second / p.tokens_per_second for o, p in zip(equal, peer, strict=True))
    click.echo(f"tokens/s at equal size: {ratio:.2f} times the peer's")
    for name, ours in list(found.items())[1:]:
        better = statistics.fmean(100 * (1 - o.value / p.value) for o, p in zip(ours, peer, strict=True))
        click.echo(f"val_bpb ({name}): {abs(better):.1f} % {'better' if better >= 0 else 'worse'} than the peer's")


def _written(path: Path, knobs: dict[str, Any]) -> Path:
    text = asset(SCRIPT).read_text(encoding="utf-8")
    path.write_text(set_knobs(text, {k: v for k, v in knobs.items() if k in read_knobs(text)}), encoding="utf-8")
    return path


def _child(job: Job, adapter: Path) -> Ran:
    if not job.peer:
        return train(job)
    ran: Ran = imported(adapter).train(job, json.loads(Path(job.script).read_text()))
    return ran


if __name__ == "__main__":
    main()
