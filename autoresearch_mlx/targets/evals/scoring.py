"""Score answers: the scorer's process runs a check, or a model judges the answer by a rubric."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.experiment import Assignment, Progress
from autoresearch_mlx.targets.evals.answering import Answered, wait_for
from autoresearch_mlx.targets.evals.conditions import EvalsConditions
from autoresearch_mlx.targets.evals.inside.checks import Score
from autoresearch_mlx.targets.evals.rubric import judged
from autoresearch_mlx.targets.evals.scorer import Scorer
from autoresearch_mlx.targets.evals.upstream import Away, Refused, Upstream

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer with its score, from 0 to 1."""

    answered: Answered
    score: float
    why: str
    broken: str = ""
    """Why a rubric could not be judged: the judge's server refused the question.  Then the run has no value.  An empty
    string means that nothing went wrong."""

    def trace(self) -> str:
        """Return a line of JSON with all facts about this answer, for the agent that proposes the next edit."""
        case, account = self.answered.case, self.answered.account
        entry: dict[str, Any] = {
            "id": case.id,
            "tags": list(case.tags),
            "repeat": self.answered.repeat,
            "input": case.input,
            "wanted": case.wanted,
            "answer": self.answered.answer,
            "score": self.score,
            "why": self.why,
            "error": self.answered.error,
            "seconds": round(self.answered.seconds, 3),
            "calls": account.calls,
            "tokens": account.tokens,
            "tool_calls": account.tool_calls,
            "refused": account.refused,
            "steps": account.trace,
        }
        return f"{encodable(json.dumps(entry, ensure_ascii=False))}\n"


def encodable(text: str) -> str:
    """Return the text with a question mark for each lone surrogate, because UTF-8 cannot encode surrogates."""
    return text.encode(errors="replace").decode()


def score_all(
    answered: Sequence[Answered], scorer: Scorer, judge: Upstream, c: EvalsConditions, assignment: Assignment
) -> list[Scored]:
    """Return the score of each answer.  Raises EndpointError if the model that judges does not answer."""
    found = []
    for each in answered:
        assignment.watch(Progress("evaluate"))
        found.append(_scored(each, scorer, judge, c, assignment))
    return found


def _scored(each: Answered, scorer: Scorer, judge: Upstream, c: EvalsConditions, assignment: Assignment) -> Scored:
    if each.error:
        return Scored(each, 0.0, each.account.refused or each.error)
    case = each.case
    if case.kind == "rubric":
        ask = partial(_asked, judge, c, assignment)
        try:
            score = judged(case, each.answer, c.votes, ask, c.cases_sha256)
        except Refused as refused:
            return Scored(each, 0.0, str(refused), f"the judge of case {case.id} failed: {refused}")
        return Scored(each, score.score, score.why)
    told = {"id": case.id, "input": case.input}
    found = scorer.ask(do="check", check=dict(case.check), answer=each.answer, case=told)
    if "error" not in found:
        return Scored(each, *Score(float(found["score"]), str(found["why"])))
    # An answer is wrong if the user's check raises an error for the answer, or if a regular expression runs too long.
    return Scored(each, 0.0, f"the check failed: {found['error']}")


def _asked(judge: Upstream, c: EvalsConditions, assignment: Assignment, messages: Any, seed: int) -> str:
    for _ in range(_TRIES):
        try:
            reply = judge.chat({"messages": list(messages)}, assignment.seed + seed, c.seconds)
        except Away as away:
            wait_for(judge, c, assignment, str(away))
            continue
        return str(reply["choices"][0]["message"].get("content") or "")
    raise EndpointError("busy", "the model that judges rubrics keeps failing")
