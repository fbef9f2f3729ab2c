"""Say whether the machine has drifted: whether the incumbent's new runs differ from its old runs by more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from autoresearch_mlx.judge.evidence import Run, Sigma, Slope
from autoresearch_mlx.judge.slope import at_reference, error_between
from autoresearch_mlx.judge.student_t import normal_score
from autoresearch_mlx.judge.work import by_tokens

_FAR = 3.0
"""Number of standard errors beyond which new runs of an unchanged file count as a drift; chance alone exceeds it in
1 of 370 cases."""


def drifted(
    stored: Sequence[Run], new: Sequence[Run], sigma: Sigma, slope: Slope | None = None, far: float = _FAR
) -> bool:
    """Return whether the incumbent's new runs lie more than ``far`` standard errors from its stored runs.

    The standard error of the difference of two means is sigma * sqrt(1/n + 1/m); Student's t allows for a sigma from
    few repeats.  A difference that the machine's speed explains, given the slope and its error, is not a drift: the
    slope corrects the values of a slow hour.

    One disturbed run looks like a drift.  So make a second run before you begin a new regime, and call this function
    with both runs.  Returns False if there is nothing to compare.
    """
    told = by_tokens(new, stored)
    new, stored = (new, stored) if told is None else told
    old = [run for run in stored if run.fresh and not run.tainted]
    now = [run for run in new if not run.tainted]
    if not old or not now or not sigma.known or sigma.value is None:
        return False
    slope = slope or Slope()
    shift = fmean(at_reference(run, slope) for run in now) - fmean(at_reference(run, slope) for run in old)
    error = sigma.value * math.sqrt(1 / len(old) + 1 / len(now))
    apart = fmean(run.log_work for run in now) - fmean(run.log_work for run in old)
    if apart:
        error = math.hypot(error, error_between(slope, apart))
    return abs(normal_score(shift / error, sigma.dof)) > far
