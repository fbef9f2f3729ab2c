"""Define the base class and the number types that all settings share."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

METRIC_NAME = re.compile(r"[A-Za-z_][\w.]*")
"""Pattern of the names that a line ``METRIC name=value`` can have."""

LARGEST = 10**15
"""Largest number in lab.toml, so that no amount of seconds or bytes is too large for any part of the tool."""


def _no_boolean(given: Any) -> Any:
    """Return ``given`` unless it is true or false, which pydantic would take for the numbers 1 and 0."""
    if isinstance(given, bool):
        raise ValueError("should be a number, not true or false")
    return given


Number = BeforeValidator(_no_boolean)
Positive = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False), Number]
NotNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False), Number]
Count = Annotated[int, Field(gt=0, le=LARGEST), Number]
Auto = Literal["auto"]


class Frozen(BaseModel):
    """A section of settings, which cannot be changed and refuses unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")
