"""Define the settings of the blocks ``[[metric]]`` (figures with limits) and ``[[check]]`` (checks of an edit)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from autoresearch_mlx.lab.setting_types import METRIC_NAME, Count, Frozen, Positive

_PERCENT = re.compile(r"([+-]?)\s*(\d+(?:\.\d+)?)\s*%")


class MetricSettings(Frozen):
    """One figure of a run.

    The loop improves the primary figure.  All other figures may have a limit.
    """

    name: str
    """Name in a line ``METRIC name=value``, or name of a figure that every run has, such as peak_memory_mb."""
    primary: bool = False
    """If true, the loop improves this metric.  Then target.metric and its direction are taken from this block."""
    direction: Literal["min", "max"] = "min"
    unit: str = ""
    """Unit that is shown to people, such as ``ms``."""
    repeats: Count = 1
    """Number of runs of the program of a target ``command`` for one value; the value is the median of these runs."""
    limit: (
        Annotated[float, Field(allow_inf_nan=False, strict=True)] | Annotated[int, Field(strict=True)] | str | None
    ) = None
    """Worst allowed value: a number, or a change relative to the value of the session's first version (``+5 %``)."""
    run: str | None = None
    """Shell line that prints this metric in a target ``command``; None means that target.run prints it."""

    @field_validator("name")
    @classmethod
    def _nameable(cls, name: str) -> str:
        if not METRIC_NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a metric: only letters, digits, _ and .")
        return name

    @model_validator(mode="after")
    def _possible(self) -> MetricSettings:
        if self.primary and self.limit is not None:
            raise ValueError(f"{self.name} is the primary metric, which the loop improves, so it has no limit")
        if isinstance(self.limit, str):
            sign, share = self._parts(self.limit)
            wrong = "-" if self.direction == "min" else "+"
            if sign == wrong and share:
                better = "lower" if self.direction == "min" else "higher"
                said = f"limit {self.limit!r} asks for a better value than the first version's ({better} is better)"
                raise ValueError(f"{self.name}: {said}; write how much worse {self.name} may become")
        return self

    def _parts(self, limit: str) -> tuple[str, float]:
        found = _PERCENT.fullmatch(limit.strip())
        if found is None:
            raise ValueError(f"{self.name}: limit {limit!r} is neither a number nor a change such as '+5 %'")
        return found.group(1), float(found.group(2)) / 100

    @property
    def worse_by(self) -> float | None:
        """The relative limit as a share, such as 0.05 for ``+5 %`` or ``-5 %``; None for a limit that is a number."""
        return self._parts(self.limit)[1] if isinstance(self.limit, str) else None


class CheckSettings(Frozen):
    """One named check of an edit."""

    name: str
    run: str
    """Shell line that must end with exit code 0 for the metric to count."""
    timeout_seconds: Positive = 600.0
    """Longest time in seconds that the check may take."""

    @field_validator("name", "run")
    @classmethod
    def _said(cls, text: str) -> str:
        if not text.strip() or not text.isprintable():
            raise ValueError("write words without control characters")
        return text


_BLOCKS: Mapping[str, type[Frozen]] = {"metric": MetricSettings, "check": CheckSettings}


def wrong_blocks(written: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the blocks of a lab.toml, as text; None if nothing is wrong."""
    for kind, model in _BLOCKS.items():
        blocks = written.get(kind, [])
        if not isinstance(blocks, list) or not all(isinstance(each, Mapping) for each in blocks):
            return f"{kind} should be blocks of their own, each below a line [[{kind}]]"
        for number, block in enumerate(blocks, start=1):
            where = f"block {number} of [[{kind}]]"
            for key in block:
                if key not in model.model_fields:
                    near = difflib.get_close_matches(key, model.model_fields, 1, 0.5)
                    guess = f"did you mean {near[0]}?" if near else f"valid names: {', '.join(model.model_fields)}"
                    return f"{where}: unknown setting {key}; {guess}"
            for key, setting in model.model_fields.items():
                if setting.is_required() and key not in block:
                    return f"{where} needs {key} = ..."
        names = [block["name"] for block in blocks]
        if twice := next((name for name in names if names.count(name) > 1), None):
            return f"two blocks [[{kind}]] have the name {twice!r}"
    return None


def put_primary(written: dict[str, Any]) -> str | None:
    """Copy name and direction of the primary block into the section ``target`` of a lab.toml.

    Returns what is wrong with the blocks, as text; None if nothing is wrong.
    """
    blocks, target = written.get("metric", []), written.setdefault("target", {})
    primary = [each for each in blocks if each.get("primary") is True]
    if len(primary) > 1:
        return f"the metrics {' and '.join(str(each['name']) for each in primary)} both say primary = true"
    if not isinstance(target, dict):
        return None
    for block in primary:
        for name, value in (("metric", block["name"]), ("direction", block.get("direction", "min"))):
            if target.setdefault(name, value) != value:
                said = f"the primary [[metric]] says {value!r}"
                return f"target.{name} is {target[name]!r}, and {said}: remove one of the two"
    same = [each for each in blocks if each["name"] == target.get("metric") and each not in primary]
    return (
        f"the block [[metric]] of {same[0]['name']} needs primary = true, because target.metric names it"
        if same
        else None
    )
