"""Numbers that servers tell of their models, in whichever field or word they put them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)


def billions_in(name: str) -> float | None:
    """Parameters in units of 1e9, as a model's name or a server's words say them.

    ``qwen3-coder:30b`` 30, ``qwen3.5:35b-a3b`` 35 (all of them, not only the active ones), ``596.05M`` 0.59605.
    """
    found = _SIZE.search(name)
    if found is None:
        return None
    experts, number, unit = found.groups()
    return float(number) * int(experts or 1) / (1000 if unit in "mM" else 1)


def whole_number(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


def first_number(entry: Mapping[str, Any], *names: str) -> int | None:
    """The first of these fields that holds a positive number."""
    return next((n for n in (whole_number(entry.get(name)) for name in names) if n is not None), None)
