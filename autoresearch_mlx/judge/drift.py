"""Has the machine changed under the session?  The incumbent, measured anew, tells.

A shift opens a new *epoch*: runs of earlier ones stop counting (:func:`compare.counted`), since heat or
an update has moved them all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from autoresearch_mlx.judge.student import normal_score
from autoresearch_mlx.judge.values import Run, Sigma

_FAR = 3.0


def age_of(measured: Sequence[bool]) -> int:
    """Experiments since the incumbent was last measured, given for each, oldest first, whether it was then.

    A keep counts: it measured what is the incumbent now.
    """
    return next((age for age, then in enumerate(reversed(measured)) if then), len(measured))


def refresh_due(measured: Sequence[bool], every: int = 10) -> bool:
    """Is it time to measure the incumbent, which is wanted every so many experiments?

    Raises ValueError when ``every`` is under 1.
    """
    if every < 1:
        raise ValueError(f"the incumbent cannot be measured every {every} experiments")
    return age_of(measured) >= every


def drifted(stored: Sequence[Run], new: Sequence[Run], sigma: Sigma, far: float = _FAR) -> bool:
    """Do the new runs of the incumbent lie beyond ``far`` sigma of its stored ones, either way?

    That is far standard errors of the difference, sigma * sqrt(1/n + 1/m); with few repeats behind sigma,
    as many more as leave the same share of false alarms, 1 in 370.  One disturbed run looks like drift:
    take a second before opening an epoch, and ask with both.  False where nothing compares.
    """
    old = [run.value for run in stored if run.fresh and not run.tainted]
    now = [run.value for run in new if not run.tainted]
    if not old or not now or not sigma.known or sigma.value is None:
        return False
    error = sigma.value * math.sqrt(1 / len(old) + 1 / len(now))
    return abs(normal_score((fmean(now) - fmean(old)) / error, sigma.dof)) > far
