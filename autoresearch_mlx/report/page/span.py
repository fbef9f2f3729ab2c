"""Choose the range of values that a plot shows: all kept values and most other values, but not a few values that are
far away."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

_SHARE = 0.85
_MARGIN = 0.06


def worth_showing(values: Sequence[tuple[float, bool]], ahead: Sequence[float] = ()) -> tuple[float, float]:
    """Return the low and high end of the range for pairs ``(value, kept)``.

    All kept values are inside the range, and so are most other values.  The other values may stretch the range to at
    most four times the range of the kept values.  In a wider range, the kept values would look like a flat line.  While
    only one value is kept, the range reaches at most four times the median distance from it.

    ``ahead`` has values that are better than the incumbent's but were not kept.  These values are inside the range too,
    unless their distance from the range exceeds its width.  Raises ValueError if ``values`` is empty.
    """
    if not values:
        raise ValueError("no values to show")
    kept = [value for value, was_kept in values if was_kept] or [value for value, _ in values]
    low, high = min(kept), max(kept)
    others = sorted(value for value, _ in values)
    cut = round((1 - _SHARE) / 2 * len(others))
    inner = others[cut : len(others) - cut] or others
    off = [abs(value - low) for value in others if value != low]
    reach = 1.5 * (high - low) or (4 * median(off) if off else 0.0)
    low = max(min(low, inner[0]), low - reach)
    high = min(max(high, inner[-1]), high + reach)
    span = high - low
    seen = [value for value in ahead if low - span <= value <= high + span]
    low, high = min((low, *seen)), max((high, *seen))
    room = _MARGIN * (high - low) or abs(high) * _MARGIN or 1.0
    return low - room, high + room
