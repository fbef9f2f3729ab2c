"""Run one measurement: send the bench its commands in order, and collect the outputs that the referee checks."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from autoresearch_mlx.targets.kernel.order import Trial
from autoresearch_mlx.targets.kernel.pairs import Ratio, order, ratio
from autoresearch_mlx.targets.kernel.stopwatch import Command, Reply, Talk, stop
from autoresearch_mlx.targets.kernel.task import Baseline, Sizes, Task

_BLOCK_SECONDS, _PAIRS = 0.02, 10
_MOST_CALLS = 2000


def trials_of(task: Task, chance: random.Random, timed: Sizes, hidden: bool) -> tuple[Trial, ...]:
    """Return the sets of inputs on which a candidate must be right.  ``chance`` draws their seeds, after the candidate
    was frozen.

    There are three kinds of sizes: those at which the candidate is timed, the task's odd sizes, and sizes drawn for
    this run.  At the timed sizes there are inputs with usual, small and large values.
    """

    def seed() -> int:
        return chance.randrange(2**31)

    what = "the held-out shape" if hidden else "the model's shape"
    found = [
        Trial("timed", timed, seed(), 1.0, what),
        Trial("small", timed, seed(), 0.1, f"{what}, values a tenth as large"),
        Trial("large", timed, seed(), 4.0, f"{what}, values four times as large"),
    ]
    found += [
        Trial(f"odd{at}", sizes, seed(), 1.0, f"an odd shape ({in_words(sizes)})") for at, sizes in enumerate(task.odd)
    ]
    if task.free:
        drawn = task.drawn_sizes(chance)
        found.append(Trial("drawn", drawn, seed(), 1.0, f"a shape drawn for this run ({in_words(drawn)})"))
    return tuple(found)


def in_words(sizes: Sizes) -> str:
    return ", ".join(f"{name} = {size}" for name, size in sizes.items())


@dataclass
class Findings:
    """The results of a conversation with a bench process."""

    form: str | None = None
    ratio: Ratio | None = None
    copy_seconds: float | None = None
    """Seconds of a call that only copies the inputs."""
    files: list[Mapping[str, Any]] = field(default_factory=list)
    """Files for the referee to check, with the sizes, seed and scale of their inputs."""
    said: list[str] = field(default_factory=list)
    """Description of each file."""
    doing: str = ""
    """Description of the current work of the bench."""
    smoke: bool = False


def smoke(trials: tuple[Trial, ...], found: Findings) -> Talk:
    """Ask the bench for the outputs of one trial only."""
    reply: Reply = yield {"do": "prepare"}
    found.form = reply.fields["form"]
    yield from _try(trials[0], trials[0].name, found)


def measurement(trials: tuple[Trial, ...], baseline: Baseline, seed: int, timed: Sizes, found: Findings) -> Talk:
    """Ask for the outputs on all trials, time candidate and baseline in alternation, then ask for the outputs of the
    last timed calls."""
    reply: Reply = yield {"do": "prepare"}
    found.form = reply.fields["form"]
    for trial in trials:
        yield from _try(trial, trial.name, found)
    first = trials[0]
    yield from _try(first, "again", found)
    found.files[-1] = {"file": "again", "same_as": first.name}
    found.said[-1] = f"{first.kind}, a second time"
    yield {"do": "ghost", "trial": first.name}
    yield {"do": "lay out"}
    yield {"do": "baseline", "name": baseline}
    yield {"do": "copy"}
    found.doing = "timed calls"
    found.ratio = yield from paired(baseline, "candidate", _PAIRS)
    reply = yield {"do": "last", "save": "last"}
    found.files.append({"file": "last", "sizes": timed, "seed": seed + int(reply.fields["set"])})
    found.said.append("the outputs of the last timed call")
    found.copy_seconds = yield from _each("copy")


def _try(trial: Trial, name: str, found: Findings) -> Talk:
    found.doing = trial.kind
    reply: Reply = yield {"do": "try", "trial": trial.name, "save": name}
    found.doing = ""
    if changed := reply.fields["changed"]:
        raise stop("invalid", f"on {trial.kind}: it changed its input {', '.join(changed)} in place")
    found.files.append({"file": name, "sizes": trial.sizes, "seed": trial.seed, "scale": trial.scale})
    found.said.append(trial.kind)


def paired(theirs: str, ours: str, pairs: int) -> Generator[Command, Reply, Ratio]:
    """Time two functions in alternation, in blocks of a few hundredths of a second, and return the ratio of their
    times."""
    calls = {}
    for side in (theirs, ours):
        yield {"do": "block", "side": side, "calls": 1}  # the first call compiles
        yield {"do": "block", "side": side, "calls": 1}
        once: Reply = yield {"do": "block", "side": side, "calls": 2}
        calls[side] = max(1, min(_MOST_CALLS, round(_BLOCK_SECONDS / max(once.seconds / 2, 1e-7))))
    taken: dict[str, list[float]] = {theirs: [], ours: []}
    for first in order(pairs):
        side = theirs if first else ours
        reply: Reply = yield {"do": "block", "side": side, "calls": calls[side]}
        taken[side].append(reply.seconds / calls[side])
    return ratio(taken[theirs], taken[ours])


def _each(side: str) -> Generator[Command, Reply, float]:
    yield {"do": "block", "side": side, "calls": 4}
    reply: Reply = yield {"do": "block", "side": side, "calls": 40}
    return reply.seconds / 40


def baselines(names: tuple[Baseline, ...], found: dict[str, float]) -> Talk:
    """Time each version of the reference, and add the seconds of one call to ``found``."""
    yield {"do": "lay out"}
    calls = {}
    for name in names:
        yield {"do": "baseline", "name": name}
        yield {"do": "block", "side": name, "calls": 1}
        once: Reply = yield {"do": "block", "side": name, "calls": 2}
        calls[name] = max(1, min(_MOST_CALLS, round(_BLOCK_SECONDS / max(once.seconds / 2, 1e-7))))
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(5):
        for name in names:
            reply: Reply = yield {"do": "block", "side": name, "calls": calls[name]}
            taken[name].append(reply.seconds / calls[name])
    found.update({name: sorted(times)[len(times) // 2] for name, times in taken.items()})
