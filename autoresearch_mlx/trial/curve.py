"""Keep the losses of one training run as a curve with at most ``POINTS`` points, however long the run is."""

from __future__ import annotations

import math

POINTS = 20
"""Number of equal parts of the budget; a curve has at most one point for each part."""


class Curve:
    """Averages the losses of each of ``POINTS`` equal parts of the budget, so that a long run needs no more memory."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[int, float, float]] = {}

    def add(self, share: float, loss: float) -> None:
        """Add a loss that was reported when ``share`` of the budget was used; a share above 1 counts as 1.

        The edited script may send anything, so numbers that are not finite are ignored.
        """
        if not (math.isfinite(share) and math.isfinite(loss)):
            return
        share = min(max(share, 0.0), 1.0)
        part = min(int(share * POINTS), POINTS - 1)
        count, shares, losses = self._parts.get(part, (0, 0.0, 0.0))
        self._parts[part] = (count + 1, shares + share, losses + loss)

    def points(self) -> tuple[tuple[float, float], ...]:
        """Return a pair for each part that has a loss, in order: the mean share of the budget, and the mean loss."""
        means = ((shares / count, losses / count) for _, (count, shares, losses) in sorted(self._parts.items()))
        return tuple((round(share, 4), round(loss, 4)) for share, loss in means)
