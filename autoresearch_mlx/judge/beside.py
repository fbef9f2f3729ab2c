"""Compare the speeds of runs during which a model worked on a proposal with the speeds of all other runs, to find how
much the model slows runs down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from autoresearch_mlx.experiment import History, Measurement
from autoresearch_mlx.judge.speeds import SLOW

_FEWEST = 3
"""A comparison needs at least this many runs with a model at work, and at least this many without one."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Mean speed of the runs during which a model worked on a proposal (``speed``), and of all other runs (``alone``);
    1 is the speed of the baseline."""

    speed: float
    runs: int
    alone: float
    alone_runs: int

    @property
    def too_much(self) -> bool:
        """Whether the runs during which a model worked on a proposal were clearly slower than the other runs."""
        return self.speed < SLOW * self.alone

    @property
    def words(self) -> str:
        mine, others = f"{self.speed:.2f} in {self.runs} runs", f"{self.alone:.2f} in {self.alone_runs} other runs"
        return f"the machine's speed was {mine} during which a model worked on a proposal, and {others}"


def slowed(history: History) -> Beside | None:
    """Return the speeds of runs with and without a model at work, or None until there are enough runs of both kinds.

    Runs of the incumbent between experiments count as runs without a model at work.
    """
    ahead = [e.talk.get("ahead") for e in history.experiments]
    marked = {told.get("beside") for told in ahead if isinstance(told, dict)}
    with_it = _speeds([m for e in history.experiments if e.number in marked for m in e.measurements[:1]])
    without = _speeds(
        [
            *(m for e in history.experiments if e.number not in marked for m in e.measurements),
            *(r.measurement for r in history.repeats),
        ]
    )
    if len(with_it) < _FEWEST or len(without) < _FEWEST:
        return None
    return Beside(fmean(with_it), len(with_it), fmean(without), len(without))


def _speeds(runs: Sequence[Measurement]) -> list[float]:
    return [m.speed for m in runs if m.speed is not None]
