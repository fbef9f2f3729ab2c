"""Define a published result, and read results that strangers published.

A stranger's text is data: its size is limited and the type of each field is checked.  A fault is returned as a reason
in text and never raises an exception.  A result has an effect (a difference on its author's machine) but no measured
value, so nothing in it can be compared with a value measured here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from autoresearch_mlx.agents.ideas.axis_names import clean_axis
from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.terms import cut, one_line

SCHEMA = 1
KIND = "result"
FILE = "result.json"
MOST_BYTES = 64 * 1024
"""Largest size in bytes of a result's JSON text; larger texts are not read."""
Published: TypeAlias = Literal["keep", "discard", "crash", "timeout"]
STATUSES = frozenset(get_args(Published))
"""Experiments with these statuses are published, because the statuses show what the edit did."""
_TITLE, _NOTE, _FACT, _VALUE = 120, 500, 120, 200
_PATCH = 16_000
_MOST_KNOBS, _MOST_FACTS, _MOST_FILES, _MOST_ITEMS = 32, 24, 16, 16
_LARGEST = 1e15
_KNOB = re.compile(r"[A-Z][A-Z0-9_]{0,79}")
_HEX = re.compile(r"[0-9a-f]+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_WORD = re.compile(r"[A-Za-z][\w.:-]{0,59}")


@dataclass(frozen=True, slots=True)
class Effect:
    """A gain over the author's incumbent, in the metric's unit, with its 90 % interval; positive is better."""

    gain: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One experiment, as its lab published it."""

    lab: str
    machine: str
    """Random name of the machine that measured the experiment."""
    session: str
    experiment: int
    question: str
    """Hash of the question: the metric and the conditions, without the machine (:mod:`question`)."""
    key: str
    """Comparability key of the runs, which includes the machine."""
    target: str
    metric: str
    direction: Literal["min", "max"]
    status: Published
    axis: str | None
    title: str
    note: str
    hypothesis: str
    """Hash of the question and the edit; every lab that tries this edit gets the same hash."""
    finished: str
    """Time in UTC at which the experiment ended, by its author's clock."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Facts about the machine as text, by names such as ``chip`` and ``memory_gb``."""
    conditions: Mapping[str, str] = field(default_factory=dict)
    knobs: KnobChanges = field(default_factory=dict)
    effect: Effect | None = None
    patch: str = ""
    """The change as a unified diff.  The diff is empty if the knobs describe the whole change, or if the change was not
    published."""
    files: tuple[str, ...] = ()
    """Paths of the files of a winning edit.  Each file is published whole, as it was before and after the edit."""
    withheld: str = ""
    """Why the change was not published, or an empty string if it was published."""

    @property
    def name(self) -> str:
        """The part of the ref's name that identifies the result."""
        return f"{self.lab}/{self.machine}/{self.session}-{self.experiment}"

    @property
    def chip(self) -> str:
        return self.facts.get("chip") or "unknown machine"


def read_result(text: bytes) -> Result | str:
    """Return the result in a JSON text, or the reason why the text is not a result."""
    if len(text) > MOST_BYTES:
        return f"its text has {len(text):,} bytes; at most {MOST_BYTES:,} are read"
    try:
        return result_from(json.loads(text))
    except (ValueError, RecursionError):
        return "it is not JSON"


def result_from(found: Any) -> Result | str:
    """Return the result in a JSON value, or the reason why the value is not a result."""
    try:
        return _result(found)
    except _Fault as fault:
        return str(fault)


class _Fault(Exception):
    """Raised for a published object that is not a result; the message says why."""


def _result(found: Any) -> Result:
    if not isinstance(found, dict):
        raise _Fault("it is not a JSON object")
    if found.get("kind") != KIND:
        raise _Fault("it is not a result")
    if found.get("schema") != SCHEMA or isinstance(found.get("schema"), bool):
        raise _Fault("it has a schema that this version does not read")
    direction, status = found.get("direction"), found.get("status")
    if direction not in ("min", "max"):
        raise _Fault("its direction is neither min nor max")
    if not isinstance(status, str) or status not in STATUSES:
        raise _Fault("its status is not one that labs publish")
    machine = _object(found, "machine")
    return Result(
        lab=_hex(found, "lab", 10),
        machine=_hex(machine, "id", 8),
        session=_hex(found, "session", 8),
        experiment=_whole(found, "experiment"),
        question=_hex(found, "question", 12),
        key=_hex(found, "key", 12),
        target=_word(found, "target"),
        metric=_word(found, "metric"),
        direction=direction,
        status=status,  # type: ignore[arg-type]
        axis=clean_axis(_text(found, "axis", 80)) if found.get("axis") is not None else None,
        title=_text(found, "title", _TITLE) or "(no title)",
        note=_text(found, "note", _NOTE),
        hypothesis=_hex(found, "hypothesis", 16),
        finished=_time(found),
        facts=_facts({name: fact for name, fact in machine.items() if name != "id"}, "machine"),
        conditions=_facts(_object(found, "conditions"), "conditions"),
        knobs=_knobs(_object(found, "knobs")),
        effect=_effect(found.get("effect")),
        patch=_patch(found.get("patch")),
        files=_files(found.get("files")),
        withheld=_text(found, "withheld", _FACT),
    )


def _object(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = found.get(name, {})
    if not isinstance(value, dict):
        raise _Fault(f"its {name} is not an object")
    return value


def _line(text: str, most: int) -> str:
    """Return the text as one line, without control codes and without lone surrogates, which UTF-8 cannot encode."""
    whole = text[: 10 * most].encode(errors="replace").decode()
    return cut(one_line(whole), most)


def _text(found: Mapping[str, Any], name: str, most: int) -> str:
    value = found.get(name, "")
    if not isinstance(value, str):
        raise _Fault(f"its {name} is not a string")
    return _line(value, most)


def _hex(found: Mapping[str, Any], name: str, digits: int) -> str:
    value = found.get(name)
    if not isinstance(value, str) or len(value) != digits or not _HEX.fullmatch(value):
        raise _Fault(f"its {name} is not {digits} hexadecimal digits")
    return value


def _word(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise _Fault(f"its {name} is not a short name")
    return value


def _whole(found: Mapping[str, Any], name: str) -> int:
    value = found.get(name)
    if type(value) is not int or not 0 < value < 10_000_000:
        raise _Fault(f"its {name} is not the number of an experiment")
    return value


def _time(found: Mapping[str, Any]) -> str:
    value = found.get("finished")
    if not isinstance(value, str) or len(value) != 20 or not (value.isascii() and _TIME.fullmatch(value)):
        raise _Fault("its time is not written as 2026-01-31T23:59:59Z")
    return value


def _facts(found: Mapping[str, Any], name: str) -> dict[str, str]:
    if len(found) > _MOST_FACTS:
        raise _Fault(f"its {name} has {len(found):,} entries; at most {_MOST_FACTS} are read")
    if not all(isinstance(value, str | int | float) or value is None for value in found.values()):
        raise _Fault(f"an entry of its {name} is neither a text nor a number")
    return {_line(key, 40): _line(_said(value), _FACT) for key, value in found.items() if value is not None}


def _said(value: object) -> str:
    if type(value) is int and abs(value) > _LARGEST:
        return "a number too large to show"
    return str(value)


def _knobs(found: Mapping[str, Any]) -> KnobChanges:
    if len(found) > _MOST_KNOBS:
        raise _Fault(f"it changes {len(found):,} knobs; at most {_MOST_KNOBS} are read")
    return {_knob(name): _change(name, change) for name, change in found.items()}


def _knob(name: str) -> str:
    if not (name.isascii() and _KNOB.fullmatch(name)):
        raise _Fault("it changes a knob whose name is not in capitals")
    return name


def _change(name: str, change: Any) -> tuple[object, object]:
    if not isinstance(change, list) or len(change) != 2:
        raise _Fault(f"its change of {name} is not a pair")
    return _value(name, change[0]), _value(name, change[1])


def _value(name: str, value: Any, nested: bool = False) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) <= _LARGEST:  # false for NaN
        return value
    if isinstance(value, str) and len(value) <= _VALUE and value.isprintable():
        return value
    if isinstance(value, list) and not nested and len(value) <= _MOST_ITEMS:
        return [_value(name, item, nested=True) for item in value]
    raise _Fault(f"its value of {name} is not a plain, short value")


def _effect(found: Any) -> Effect | None:
    if found is None:
        return None
    if not isinstance(found, dict):
        raise _Fault("its effect is not an object")
    gain, low, high = (_number(found, name) for name in ("gain", "low", "high"))
    if gain is None:
        raise _Fault("its effect has no gain")
    if (low is None) != (high is None) or (low is not None and high is not None and not low <= gain <= high):
        raise _Fault("its gain lies outside of its own interval")
    return Effect(gain, low, high)


def _number(found: Mapping[str, Any], name: str) -> float | None:
    value = found.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not abs(value) <= _LARGEST:  # `not <=` is true for NaN
        raise _Fault(f"the {name} of its effect is not a finite number")
    return float(value)


def _patch(found: Any) -> str:
    if found is None:
        return ""
    if not isinstance(found, str) or len(found) > _PATCH:
        raise _Fault(f"its patch is not a string of at most {_PATCH:,} characters")
    return found.encode(errors="replace").decode()


def _files(found: Any) -> tuple[str, ...]:
    if found is None:
        return ()
    if not isinstance(found, list) or len(found) > _MOST_FILES:
        raise _Fault(f"its files are not a list of at most {_MOST_FILES} paths")
    for path in found:
        if not isinstance(path, str) or len(path) > 200 or not path.isprintable() or not path:
            raise _Fault("one of its files has no usable path")
        if path.startswith("/") or "\\" in path or ".." in path.split("/"):
            raise _Fault("one of its files lies outside of the lab")
    return tuple(found)


def result_to(result: Result) -> dict[str, Any]:
    """Return a result as the JSON object that is published, with its keys in a fixed order."""
    effect = result.effect
    fields: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": KIND,
        "lab": result.lab,
        "machine": {"id": result.machine, **result.facts},
        "session": result.session,
        "experiment": result.experiment,
        "finished": result.finished,
        "target": result.target,
        "metric": result.metric,
        "direction": result.direction,
        "question": result.question,
        "key": result.key,
        "conditions": dict(result.conditions),
        "status": result.status,
        "effect": None if effect is None else {"gain": effect.gain, "low": effect.low, "high": effect.high},
        "axis": result.axis,
        "title": result.title,
        "note": result.note,
        "hypothesis": result.hypothesis,
        "knobs": {name: list(change) for name, change in result.knobs.items()},
    }
    if result.patch:
        fields["patch"] = result.patch
    if result.files:
        fields["files"] = list(result.files)
    if result.withheld:
        fields["withheld"] = result.withheld
    return fields
