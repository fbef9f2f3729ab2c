"""Define what a coordinator knows about a machine of its fleet."""

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
    """Whether the machine has left and has not joined again."""
    seen: float | None
    """Time of the machine's last report, in seconds since 1970."""
    facts: Mapping[str, Any]

    def away(self) -> Machine:
        return replace(self, here=False, busy=False)


class Lost(Exception):
    """Raised if a machine does not come back in time; the result of the run stays in the machine's spool."""
