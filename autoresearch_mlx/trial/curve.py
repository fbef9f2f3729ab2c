"""Keep the losses of one training run as a curve with at most ``POINTS`` points, however long the run is."""

from __future__ import annotations

import math

POINTS = 20
"""Number of equal parts into which a curve of losses divides the budget."""


class Curve:
    """Averages losses over ``POINTS`` equal parts of the budget, so that its memory does not grow with the run."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[int, float, float]] = {}

    def add(self, share: float, loss: float) -> None:
        """Add a loss that was reported at this share of the budget; a share above 1 counts as 1.

        Numbers that are not finite are left out, because the edited script may send anything.
        """
        if not (math.isfinite(share) and math.isfinite(loss)):
            return
        share = min(max(share, 0.0), 1.0)
        part = min(int(share * POINTS), POINTS - 1)
        count, shares, losses = self._parts.get(part, (0, 0.0, 0.0))
        self._parts[part] = (count + 1, shares + share, losses + loss)

    def points(self) -> tuple[tuple[float, float], ...]:
        """Return (share of the budget, loss) for each part with a loss, in order; both are means over the part."""
        means = ((shares / count, losses / count) for _, (count, shares, losses) in sorted(self._parts.items()))
        return tuple((round(share, 4), round(loss, 4)) for share, loss in means)
