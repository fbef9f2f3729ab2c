"""Define the base class and the number types that all settings share."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

METRIC_NAME = re.compile(r"[A-Za-z_][\w.]*")
"""Pattern of the names that a line ``METRIC name=value`` can have."""

LARGEST = 10**15
"""Largest number allowed in lab.toml; all parts of the tool can handle this number of seconds or bytes."""


def _no_boolean(given: Any) -> Any:
    """Return ``given``.  Raises ValueError for true and false, which pydantic would read as the numbers 1 and 0."""
    if isinstance(given, bool):
        raise ValueError("should be a number, not true or false")
    return given


Number = BeforeValidator(_no_boolean)
Positive = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False), Number]
NotNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False), Number]
Count = Annotated[int, Field(gt=0, le=LARGEST), Number]
Auto = Literal["auto"]


class Frozen(BaseModel):
    """Base class of a section of settings.  Its values cannot be changed, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
