"""Carry out the stage ``cases``: the user or a model writes the test cases, before an agent is built.

The model that builds an agent sees neither the guard cases nor the hidden cases.  The hash of a case's id puts the case
into a part (dev, guard or hidden), as in every lab of the target `evals`.  The ids of a model's cases are chosen so
that each part gets its share.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.setup.factory.asking import Asker, Unfit, fitting
from autoresearch_mlx.setup.factory.ledger import Problem
from autoresearch_mlx.setup.factory.prompts import cases_prompt
from autoresearch_mlx.setup.factory.trivial import CONSTANT, Draft, Examined, examine
from autoresearch_mlx.targets.evals.cases import PARTS, Case, Part, case_of, part_of, read_cases, split

FILE = "cases.jsonl"
DEV_SHARE, GUARD_SHARE = 0.4, 0.2
LEAST: Mapping[Part, int] = {"dev": 4, "guard": 2, "hidden": 4}
"""Smallest number of cases in each part."""
_AT_ONCE = 10
_INPUT = 2000
"""Largest number of characters of a question."""
_ORDER: tuple[Part, ...] = ("dev", "hidden", "dev", "guard", "hidden")
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["cases"],
    "properties": {
        "cases": {
            "type": "array",
            "minItems": 1,
            "maxItems": 60,
            "items": {
                "type": "object",
                "required": ["input", "answer", "check"],
                "properties": {
                    "input": {"type": "string", "minLength": 1},
                    "check": {"type": "object"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
            },
        }
    },
}
_ALLOWED = ("exact", "number", "regex", "schema")
"""Kinds of checks that a model may write; checks of the other kinds run code or ask a model."""


@dataclass(frozen=True, slots=True)
class Cases:
    """The usable cases, or the reason why there are none."""

    examined: Examined | None
    """None if there are no usable cases."""
    fault: str = ""

    def counts(self) -> dict[str, int]:
        assert self.examined is not None
        return {part: len(found) for part, found in split(self.examined.cases, DEV_SHARE, GUARD_SHARE).items()}


def written_by_user(folder: Path, work: Path) -> Cases | None:
    """Return the cases that the user has put into a problem's folder; None if the user has written no cases.

    A check may be a function in a Python file beside the cases.  Raises ConfigError for a malformed file (the error
    names the line), and for cases that test too little.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    examined = examine([Draft(case) for case in read_cases(path)], folder, work)
    fault = _too_weak(examined)
    if fault:
        raise ConfigError(f"{path}: {fault}", "correct the cases, then run the command again")
    return Cases(examined)


def written_by_model(asker: Asker, problem: Problem, wanted: int, work: Path) -> Cases:
    """Ask a model for ``wanted`` cases, and return the cases that test something.

    If too few cases test something, return the reason instead.
    """
    assert problem.spec is not None
    drafts: dict[str, Draft] = {}
    fault = ""
    for _ in range(-(-wanted // _AT_ONCE) + 2):
        missing = wanted - len(drafts)
        if missing <= 0:
            break
        taken = [str(draft.case.input) for draft in drafts.values()]
        prompt = cases_prompt(problem.spec, min(_AT_ONCE, missing), taken)
        answer = asker.ask(problem.number, "cases", prompt, _drafts, SCHEMA)
        if answer.value is None:
            fault = answer.fault
            break
        before = len(drafts)
        for draft in answer.value:
            named = replace(draft, case=replace(draft.case, id=f"draft-{len(drafts) + 1}"))
            drafts.setdefault(" ".join(str(draft.case.input).split()).casefold(), named)
        if len(drafts) == before:
            break
    if not drafts:
        return Cases(None, f"no cases were written: {fault or 'the model gave none'}")
    examined = examine(list(drafts.values())[: wanted + _AT_ONCE], work, work)
    examined = _numbered(examined)
    weak = _too_weak(examined)
    return Cases(None, weak) if weak else Cases(examined)


def _drafts(text: str) -> list[Draft]:
    value = fitting(text, SCHEMA)
    found, faults = [], []
    for n, entry in enumerate(value["cases"], 1):
        kinds = [name for name in _ALLOWED if name in entry["check"]]
        if len(kinds) != 1:
            faults.append(f"case {n}: a check has one of {', '.join(_ALLOWED)}")
            continue
        if _refers(entry["check"]):
            faults.append(f"case {n}: its schema refers to another document")
            continue
        question = terms.printable(entry["input"]).strip()[:_INPUT]
        tags = [terms.one_line(tag)[:40] for tag in entry.get("tags", [])][:5]
        case = {"id": f"draft-{n}", "tags": [tag for tag in tags if tag], "input": question, "check": entry["check"]}
        try:
            found.append(Draft(case_of(case), entry["answer"]))
        except ValueError as error:
            faults.append(f"case {n}: {error}")
        except RecursionError:
            faults.append(f"case {n}: it is nested too deeply")
    if not found:
        raise Unfit("; ".join(faults[:3]) or "there are no cases in it")
    return found


def _refers(value: Any) -> bool:
    """Return whether a JSON schema refers to another document, which the library would fetch from the network."""
    if isinstance(value, dict):
        named = ("$ref", "$dynamicRef", "$recursiveRef", "$id", "$schema")
        away = any(isinstance(value.get(name), str) and not value[name].startswith("#") for name in named)
        return away or any(map(_refers, value.values()))
    return isinstance(value, list) and any(map(_refers, value))


def _numbered(examined: Examined) -> Examined:
    """Give each case a new id whose hash puts the case into its part: dev, guard or hidden.

    The cases are sorted by hashes of their questions, then given to the parts in turn.
    """
    cases = sorted(examined.cases, key=lambda case: hashlib.sha256(json.dumps(case.input).encode()).digest())
    found, passed = [], set()
    for n, case in enumerate(cases):
        wanted = _ORDER[n % len(_ORDER)]
        name = next(
            name for k in range(10_000) if part_of(name := f"case-{n + 1:02d}-{k}", DEV_SHARE, GUARD_SHARE) == wanted
        )
        found.append(Case(name, case.input, case.check, case.tags))
        if case.id in examined.constant_passes:
            passed.add(name)
    return Examined(tuple(found), examined.dropped, examined.constant, frozenset(passed))


def _too_weak(examined: Examined) -> str:
    """Return why the cases test too little; an empty string if they are good enough."""
    dropped = f"; {len(examined.dropped)} were dropped" if examined.dropped else ""
    why = f": {examined.dropped[0][1]}" if examined.dropped else ""
    counts = split(examined.cases, DEV_SHARE, GUARD_SHARE)
    for part in PARTS:
        if len(counts[part]) < LEAST[part]:
            return f"{len(counts[part])} cases fall into {part}, and {LEAST[part]} are needed{dropped}{why}"
    if examined.share > CONSTANT:
        passed = f"{len(examined.constant_passes)} of {len(examined.cases)} cases"
        return f"the constant answer {terms.one_line(examined.constant)[:60]!r} passes {passed}"
    return ""


def text_of(cases: Sequence[Case]) -> str:
    """Return the text of a file ``cases.jsonl`` with these cases."""
    entries = ({"id": c.id, "tags": list(c.tags), "input": c.input, "check": dict(c.check)} for c in cases)
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
