"""The limits of a run in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from autoresearch_mlx import terms


def limits_in_words(limits: Mapping[str, Any]) -> str:
    """``at 07:00, or after 40 experiments, whichever comes first``; by the names of :class:`Policy`."""
    words = [say(limits[name]) for name, say in _told().items() if limits.get(name) is not None]
    return ", or ".join(words) + ", whichever comes first" * (len(words) > 1) if words else "when told to"


def _told() -> Mapping[str, Callable[[Any], str]]:
    return {
        "until": lambda at: f"at {time.strftime('%H:%M', time.localtime(at))}",
        "hours": lambda hours: f"{hours:g} hours after its start",
        "experiments": lambda count: f"after {terms.plural(count, 'experiment')}",
        "stall": lambda count: f"after {terms.plural(count, 'experiment')} in a row without a keep",
        "tokens": lambda count: f"with {count:,} tokens spent",
        "cost": lambda cost: f"with {cost:g} of money spent",
    }
