"""The loss along one run, in a few points: what a person or a model needs to see how training went."""

from __future__ import annotations

import math

POINTS = 20


class Curve:
    """Gathers losses into ``POINTS`` equal parts of the budget; memory does not grow with the run."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[int, float, float]] = {}

    def add(self, share: float, loss: float) -> None:
        """One loss at a share of the budget; what comes after its end counts as its end.

        Numbers that are not finite are left out: the edited script tells them.
        """
        if not (math.isfinite(share) and math.isfinite(loss)):
            return
        share = min(max(share, 0.0), 1.0)
        part = min(int(share * POINTS), POINTS - 1)
        count, shares, losses = self._parts.get(part, (0, 0.0, 0.0))
        self._parts[part] = (count + 1, shares + share, losses + loss)

    def points(self) -> tuple[tuple[float, float], ...]:
        """(share of the budget, loss), each the mean of its part, in order; parts without a loss are missing."""
        means = ((shares / count, losses / count) for _, (count, shares, losses) in sorted(self._parts.items()))
        return tuple((round(share, 4), round(loss, 4)) for share, loss in means)
