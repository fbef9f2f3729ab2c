"""Estimate how much work runs could do on this machine.

If a step costs the same in all of the runs, the number of tokens shows the work; otherwise the machine's speed shows
the work.

The speed is measured with an error, because other programs also push a run's data out of the caches.  On two cores with
20 busy programs, the processor time of one and the same step varied by 40 % within minutes.  The parent process counts
the tokens exactly, but their number also depends on what a step of the file costs.  So tokens show the effect of the
machine only among runs of one commit, or between files whose steps do the same work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, median

from autoresearch_mlx.judge.evidence import Run, Slope

_DOUBT = 0.12
"""Standard deviation of the difference between two estimates of a slow run's ``log_work``: one from its speed, one from
its tokens.

This value was measured on 14 runs of 3 s on two cores with a load of 20, and is used until a session has enough repeats
of its own.
"""
_ENOUGH = 4
"""Smallest number of degrees of freedom with which a session's own repeats are used."""


def by_tokens(*sides: Sequence[Run]) -> tuple[tuple[Run, ...], ...] | None:
    """Return the same groups of runs, with ``log_work`` computed from each run's tokens.

    ``log_work`` is relative to the usual number of tokens in the last group.

    Returns None if a number of tokens is unknown.  Also returns None if the machine ran at its usual speed in all runs,
    because the number of tokens then varies only by chance.
    """
    known = [run.log_tokens for side in sides for run in side if not run.tainted and run.log_tokens is not None]
    counted = [run for side in sides for run in side if not run.tainted]
    if not known or len(known) < len(counted) or not any(run.off_speed for run in counted):
        return None
    last = [run for run in sides[-1] if run.log_tokens is not None]
    usual = [run.log_tokens for run in last if not run.off_speed] or [run.log_tokens for run in last] or known
    origin = median(tokens for tokens in usual if tokens is not None)
    return tuple(tuple(_at(run, origin) for run in side) for side in sides)


def _at(run: Run, origin: float) -> Run:
    return run if run.log_tokens is None else replace(run, log_work=run.log_tokens - origin)


def compared(
    candidate: Sequence[Run], incumbent: Sequence[Run], slope: Slope, same_cost: bool
) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    """Return the runs of candidate and incumbent, with the ``log_work`` and the errors that a comparison needs.

    ``same_cost`` says whether a step does the same work in both files.

    If the work of a run is known only through the machine's speed, the error of that speed adds to the error of the
    run's value.
    """
    told = by_tokens(candidate, incumbent) if same_cost else None
    if told is not None:
        return told[0], told[1]
    return _doubted(candidate, slope), _doubted(incumbent, slope)


def _doubted(runs: Sequence[Run], slope: Slope) -> tuple[Run, ...]:
    blur = (slope.doubt or _DOUBT) * math.hypot(slope.value, slope.error)
    return tuple(
        replace(run, error=math.hypot(run.error, blur))
        if run.off_speed and run.log_tokens is not None and blur
        else run
        for run in runs
    )


def doubt(groups: Iterable[Sequence[Run]]) -> float:
    """Return the standard error of a slow run's ``log_work``.

    This error is the spread, over repeats, of the difference between ``log_work`` and the work that the tokens show.
    """
    squares, dof = 0.0, 0
    for group in groups:
        off = [run.log_tokens - run.log_work for run in group if run.log_tokens is not None and not run.tainted]
        if len(off) > 1 and any(run.off_speed for run in group):
            mean = fmean(off)
            squares += math.fsum((each - mean) ** 2 for each in off)
            dof += len(off) - 1
    return math.sqrt(squares / dof) if dof >= _ENOUGH else _DOUBT
