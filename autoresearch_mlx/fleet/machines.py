"""Define what the coordinator knows about a machine of its fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Machine:
    """One admitted machine."""

    name: str
    address: str
    here: bool
    busy: bool
    left: bool
    """Whether it has left, and not joined again."""
    seen: float | None
    """Last sign of life, in seconds since 1970."""
    facts: Mapping[str, Any]

    def away(self) -> Machine:
        return replace(self, here=False, busy=False)


class Lost(Exception):
    """A machine did not come back in time; what it measures stays in its spool."""
