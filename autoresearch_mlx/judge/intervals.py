"""Compute the confidence interval of a share."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(share: float, n: int, coverage: float) -> tuple[float, float]:
    """Return Wilson's interval (JASA 22, 1927) of a share of ``n`` >= 1 cases.

    The interval lies within 0 and 1.  ``coverage`` is 0.95 for the 95 % interval.  The share may also be a mean of
    scores between 0 and 1.  For such a mean the interval is wider than it needs to be, because scores of only 0 and 1
    have the largest possible variance.
    """
    z = NormalDist().inv_cdf((1 + coverage) / 2)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n * n))
    return max(0.0, middle - reach), min(1.0, middle + reach)
