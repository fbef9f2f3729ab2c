"""Which values a plot shows: all that were kept, and the bulk of the rest; a few wild ones must not flatten it."""

from __future__ import annotations

from collections.abc import Sequence

_SHARE = 0.85
_MARGIN = 0.06


def worth_showing(values: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Low and high end for ``(value, kept)``; all kept ones lie inside, and most of the others if they are near.

    The others may stretch the span to four times that of the kept ones, never so that those become a flat line.
    Raises ValueError without a value.
    """
    if not values:
        raise ValueError("no values to show")
    kept = [value for value, was_kept in values if was_kept] or [value for value, _ in values]
    low, high = min(kept), max(kept)
    others = sorted(value for value, _ in values)
    cut = round((1 - _SHARE) / 2 * len(others))
    inner = others[cut : len(others) - cut] or others
    reach = (high - low) or 0.01 * abs(high) or 1.0
    low = max(min(low, inner[0]), low - 1.5 * reach)
    high = min(max(high, inner[-1]), high + 1.5 * reach)
    room = _MARGIN * (high - low) or abs(high) * _MARGIN or 1.0
    return low - room, high + room
