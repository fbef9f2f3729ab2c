"""A repeat that ends by its steps: what a busy machine costs in steps then does not enter the result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median


def calibrated_steps(runs: Sequence[tuple[int, float]], budget_seconds: float) -> int | None:
    """Steps that fit the budget at the median speed of runs given as (steps, seconds of training).

    None when no run has both.  Speed stays part of a file's merit: each file is calibrated by its own runs.
    """
    paces = [seconds / steps for steps, seconds in runs if steps > 0 and seconds > 0]
    return max(1, math.floor(budget_seconds / median(paces))) if paces else None
