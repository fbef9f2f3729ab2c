"""Choose the range of values that a plot shows: all kept ones and most others, but not a few far-off ones."""

from __future__ import annotations

from collections.abc import Sequence

_SHARE = 0.85
_MARGIN = 0.06


def worth_showing(values: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Return low and high end for pairs ``(value, kept)``: all kept values lie inside, and most others that are near.

    The others may stretch the range to at most four times that of the kept ones, which would look like a flat line if
    it were wider.
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
