"""Try the cases with three trivial agents: one answers nothing, one repeats the question, one gives a constant answer.

A case is dropped if an empty answer or the question itself passes its check, or if its own right answer fails the
check.  All cases are refused if one constant answer passes more than :data:`CONSTANT` of the cases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx.targets.evals.cases import Case
from autoresearch_mlx.targets.evals.scorer import Scorer

CONSTANT = 0.25
"""Largest share of the cases that one constant answer may pass."""
_CONSTANTS = ("yes", "no", "true", "false", "0", "1", "none", "unknown", "{}", "[]", "I do not know.")
_MOST_CONSTANTS = 60


@dataclass(frozen=True, slots=True)
class Draft:
    """A case that is written but not tried yet."""

    case: Case
    answer: Any = None
    """The right answer that the model gave with the case; None for a case that a user has written."""


@dataclass(frozen=True, slots=True)
class Examined:
    """The remaining cases, the dropped cases, and how many remaining cases the best constant answer passes."""

    cases: tuple[Case, ...]
    dropped: tuple[tuple[str, str], ...]
    """For each dropped case: its question, and the reason."""
    constant: str = ""
    """The constant answer that passes the most cases."""
    constant_passes: frozenset[str] = frozenset()
    """Ids of the cases that the answer ``constant`` passes."""

    @property
    def share(self) -> float:
        return len(self.constant_passes) / max(1, len(self.cases))


def examine(drafts: Sequence[Draft], root: Path, folder: Path) -> Examined:
    """Try the cases with trivial agents, in the process that also scores agents.

    ``root`` has the files of the user's own checks; ``folder`` is for the output of the process.  A case with a rubric
    is dropped: only a model can check a rubric, and the model that wrote the case would grade its own work.
    """
    kept: list[Draft] = []
    dropped: list[tuple[str, str]] = []
    with Scorer(root, "", None, folder) as scorer:

        def passes(case: Case, answer: Any) -> bool | str:
            given = {"id": case.id, "input": case.input}
            found = scorer.ask(do="check", check=dict(case.check), answer=answer, case=given)
            return str(found["error"]) if "error" in found else float(found["score"]) > 0

        for draft in drafts:
            reason = _tests_nothing(draft, passes)
            if reason:
                dropped.append((_shown(draft.case), reason))
            else:
                kept.append(draft)
        best: tuple[str, frozenset[str]] = ("", frozenset())
        for constant in _constants(kept):
            scores = {draft.case.id: passes(draft.case, constant) for draft in kept}
            broken = {name: said for name, said in scores.items() if isinstance(said, str)}
            dropped += [(_shown(d.case), f"its check fails: {broken[d.case.id]}") for d in kept if d.case.id in broken]
            kept = [draft for draft in kept if draft.case.id not in broken]
            found = frozenset(name for name, passed in scores.items() if passed is True)
            best = max(best, (constant, found), key=lambda each: len(each[1]))
    left = {draft.case.id for draft in kept}
    return Examined(tuple(d.case for d in kept), tuple(dropped), best[0], best[1] & left)


def _shown(case: Case) -> str:
    return str(case.input)[:200]


def _tests_nothing(draft: Draft, passes: Any) -> str:
    """Return why a case must be dropped; an empty string if it can be used."""
    case = draft.case
    if "rubric" in case.check:
        return "its check is a rubric, which only a model could judge"
    for name, answer in (("a missing answer", None), ("an empty answer", ""), ("the question itself", case.input)):
        found = passes(case, answer)
        if isinstance(found, str):
            return f"its check fails: {found[:200]}"
        if found:
            return f"{name} passes its check"
    if draft.answer is not None and passes(case, draft.answer) is not True:
        return "its check refuses the right answer that came with the case"
    return ""


def _constants(drafts: Sequence[Draft]) -> list[str]:
    """Return the constant answers to try: common answers such as "yes", and the right answers of the cases."""
    known = [d.answer if d.answer is not None else _wanted(d.case.check) for d in drafts]
    texts = [
        each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in known if each is not None
    ]
    return list(dict.fromkeys([*_CONSTANTS, *texts]))[:_MOST_CONSTANTS]


def _wanted(check: Mapping[str, Any]) -> Any:
    return check.get("exact", check.get("number"))
