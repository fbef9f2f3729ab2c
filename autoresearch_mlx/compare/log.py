"""Define a log: a session, our own or someone else's, in the form in which two sessions are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoresearch_mlx.compare import log_noise, measured_under
from autoresearch_mlx.compare.disturbed import left_out_in_words, why_left_out
from autoresearch_mlx.compare.effects import Effect, Run, effects, from_experiment, from_reference
from autoresearch_mlx.compare.log_noise import Noise
from autoresearch_mlx.compare.reference import Reference
from autoresearch_mlx.experiment import Direction, History
from autoresearch_mlx.judge.history import gained, standing

METRIC = "val_bpb"
"""The metric of every log that comes with the tool."""


@dataclass(frozen=True, slots=True)
class Log:
    """A session: its runs (oldest first; order 0 is the baseline), and the conditions of its values."""

    name: str
    source: str
    """Address of the published session, or the file from which it was read."""
    hardware: str
    """Description of the hardware, or an empty string if it is unknown."""
    metric: str
    direction: Direction
    runs: tuple[Run, ...]
    noise: Noise
    conditions: Mapping[str, Any] = field(default_factory=dict)
    """Data, tokenizer, validation rows, budget and hardware, as far as they are known."""
    caveats: tuple[str, ...] = ()
    """Sentences that a reader should know before using the log's rows."""
    ends: tuple[float, float] | None = None
    """Values of baseline and incumbent, estimated from all runs of the two versions.  None means that the values in the
    rows are used."""

    @property
    def effects(self) -> tuple[Effect, ...]:
        """The effects of the runs that can be compared, oldest first."""
        return effects(self.runs, self.direction)


def of_reference(reference: Reference) -> Log:
    """Return the log of a session in a table; a caveat of several rows is given once, with the number of rows."""
    runs = tuple(from_reference(run) for run in reference.runs)
    told = [run.caveat for run in reference.runs if run.caveat]
    counts = {caveat: told.count(caveat) for caveat in told}
    return Log(
        name=reference.name,
        source=reference.source,
        hardware=reference.hardware,
        metric=METRIC,
        direction="min",
        runs=runs,
        noise=log_noise.of_effects(effects(runs, "min")),
        conditions=measured_under.of_table(reference.facts, reference.hardware),
        caveats=tuple(_caveat(text, n, len(runs)) for text, n in counts.items()),
    )


def _caveat(text: str, rows: int, of: int) -> str:
    return f"{text} ({'every row' if rows == of else f'{rows} of {of} rows'})"


def of_history(
    history: History,
    name: str,
    source: str = "",
    measured_under: Mapping[str, Any] | None = None,
    code: Mapping[int, Sequence[str]] | None = None,
) -> Log:
    """Return the log of one of our sessions.

    ``code`` maps the number of an experiment to the axes that its diff shows.
    """
    runs = tuple(from_experiment(e, (code or {}).get(e.number, ())) for e in history.experiments)
    return Log(
        name=name,
        source=source,
        hardware=name,
        metric=history.metric,
        direction=history.direction,
        runs=runs,
        noise=log_noise.of_history(history, effects(runs, history.direction)),
        conditions=measured_under or {},
        caveats=left_out_in_words([why_left_out(e) for e in history.experiments]),
        ends=_ends(history),
    )


def _ends(history: History) -> tuple[float, float] | None:
    first, best = history.baseline, history.incumbent
    if first is None or best is None or gained(history) is None:
        return None
    return standing(history, first), standing(history, best)
