"""Read the cases that score an agent, and split them into dev, guard and hidden by a hash of their ids.

``cases.jsonl`` has one case in each line:

    {"id": "area-3", "tags": ["units"], "input": "2 acres in m2?", "check": {"number": 8093.7, "tolerance": 1}}
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from autoresearch_mlx.errors import ConfigError

Part: TypeAlias = Literal["dev", "guard", "hidden"]
PARTS: tuple[Part, ...] = ("dev", "guard", "hidden")
KINDS: Mapping[str, frozenset[str]] = {
    "exact": frozenset({"ignore_case"}),
    "number": frozenset({"tolerance", "relative"}),
    "regex": frozenset({"ignore_case"}),
    "schema": frozenset(),
    "python": frozenset(),
    "rubric": frozenset({"reference"}),
}
"""Kind of a check -> optional fields of the check."""
FUNCTION = re.compile(r"([\w./-]+\.py):([A-Za-z_]\w*)")
"""Pattern of a file's name and a function's name, such as ``checks.py:is_sorted``."""
_HINT = "docs/agents-as-targets.md describes the file of cases"


@dataclass(frozen=True, slots=True)
class Case:
    """One question, and the check that scores the answer."""

    id: str
    input: Any
    """The question, any JSON value, which the agent gets unchanged."""
    check: Mapping[str, Any]
    tags: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return next(name for name in KINDS if name in self.check)

    @property
    def wanted(self) -> str:
        """The check as JSON text, as traces show it."""
        return json.dumps(dict(self.check), ensure_ascii=False)


def part_of(case_id: str, dev_share: float, guard_share: float) -> Part:
    """Return the part to which a case belongs.

    The part depends on the case's id alone, so every case stays in its part when new cases are added.
    """
    at = int.from_bytes(hashlib.sha256(case_id.encode()).digest()[:6]) / 2**48
    return "dev" if at < dev_share else "guard" if at < dev_share + guard_share else "hidden"


def split(cases: Sequence[Case], dev_share: float, guard_share: float) -> Mapping[Part, tuple[Case, ...]]:
    """Split the cases into dev, guard and hidden; each part keeps the order of the file."""
    parts: dict[Part, list[Case]] = {part: [] for part in PARTS}
    for case in cases:
        parts[part_of(case.id, dev_share, guard_share)].append(case)
    return {part: tuple(found) for part, found in parts.items()}


def read_cases(path: Path) -> tuple[Case, ...]:
    """Return the cases of a file.  Raises ConfigError, which names the faulty line and the fault."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would also split at U+2028
    except (OSError, ValueError) as error:
        raise ConfigError(f"the cases cannot be read: {path}: {error}", _HINT) from None
    found: dict[str, Case] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            case = case_of(json.loads(line))
        except RecursionError:
            raise ConfigError(f"{path}, line {number}: the case is nested too deeply", _HINT) from None
        except ValueError as error:
            raise ConfigError(f"{path}, line {number}: {error}", _HINT) from None
        if case.id in found:
            said = f"{path}, line {number}: a second case has the id {case.id!r}"
            raise ConfigError(said, "give each case its own id")
        found[case.id] = case
    if not found:
        raise ConfigError(f"{path} has no case", _HINT)
    return tuple(found.values())


def case_of(entry: Any) -> Case:
    """Return the case that a JSON value describes.  Raises ValueError, which names the fault."""
    if not isinstance(entry, dict):
        raise ValueError("a case must be a JSON object")
    if unknown := entry.keys() - {"id", "tags", "input", "check"}:
        raise ValueError(f"unknown name {sorted(unknown)[0]!r}; a case has id, tags, input and check")
    case_id, tags = entry.get("id"), entry.get("tags", [])
    if not isinstance(case_id, str) or not case_id.strip() or not case_id.isprintable():
        raise ValueError(f"the id must be a text that can be printed, not {case_id!r}")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError("tags must be a list of strings")
    if "input" not in entry:
        raise ValueError("the case has no input")
    return Case(case_id, entry["input"], _check(entry.get("check")), tuple(tags))


def _check(check: Any) -> Mapping[str, Any]:
    if not isinstance(check, dict):
        raise ValueError('the check must be an object, such as {"exact": "42"}')
    kinds = [name for name in KINDS if name in check]
    if len(kinds) != 1:
        raise ValueError(
            f"a check needs exactly one of {', '.join(KINDS)}; this one has {', '.join(map(str, check)) or 'none'}"
        )
    (kind,) = kinds
    if unknown := check.keys() - KINDS[kind] - {kind}:
        raise ValueError(f"a check {kind!r} cannot have {sorted(unknown)[0]!r}")
    if (wrong := _wrong(kind, check)) is not None:
        raise ValueError(wrong)
    return check


def _wrong(kind: str, check: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the value of a check, or None if nothing is wrong."""
    value = check[kind]
    if not isinstance(check.get("ignore_case", False), bool):
        return "ignore_case must be true or false"
    if kind == "number":
        numbers = [value, *(check[name] for name in ("tolerance", "relative") if name in check)]
        sound = all(_is_number(n) for n in numbers) and all(n >= 0 for n in numbers[1:])
        return None if sound else "number, tolerance and relative must be finite numbers, the last two 0 or more"
    if kind == "schema":
        return _wrong_schema(value)
    if not isinstance(value, str) or not value.strip():
        return f"{kind} is not a string"
    if kind == "regex":
        try:
            re.compile(value)
        except (re.error, OverflowError) as error:
            return f"{value!r} is not a regular expression: {error}"
    if kind == "python" and not FUNCTION.fullmatch(value):
        return f"the value of python is {value!r}, not a function such as file.py:name"
    return None


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _wrong_schema(schema: Any) -> str | None:
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    if not isinstance(schema, dict) or not isinstance(schema.get("$schema", ""), str):
        return "the value of schema is not a JSON schema"
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        return f"the value of schema is not a JSON schema: {error.message}"
    return None
