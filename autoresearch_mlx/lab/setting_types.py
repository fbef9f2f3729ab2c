"""Define the base class and the number types that all settings share."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

METRIC_NAME = re.compile(r"[A-Za-z_][\w.]*")
"""Pattern of the names that a line ``METRIC name=value`` can have."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
Auto = Literal["auto"]


class Frozen(BaseModel):
    """A section of settings, which cannot be changed and refuses unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")
