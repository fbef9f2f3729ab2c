"""Read the minutes of a team from its session's ledger: one line for each brief, with its outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, History


@dataclass(frozen=True, slots=True)
class Minute:
    """One brief and its outcome."""

    number: int
    junior: str
    kind: str
    axis: str | None
    question: str
    time: str
    outcome: str
    """The status of the brief's experiment; without one, ``open``, ``dropped``, ``failed``, ``conflict`` or
    ``lost``."""
    experiment: int | None = None
    reason: str = ""

    @property
    def words(self) -> str:
        """Return a line such as ``brief 3, knobs, explore lr: QUESTION discard (#4): REASON``."""
        axis = f" {self.axis}" if self.axis else ""
        became = f" (#{self.experiment})" if self.experiment is not None else ""
        why = f": {self.reason}" if self.reason else ""
        said = f"brief {self.number}, {self.junior}, {self.kind}{axis}: {self.question} {self.outcome}{became}{why}"
        return terms.one_line(said)


def minutes_of(lines: Sequence[Mapping[str, Any]], history: History) -> tuple[Minute, ...]:
    """Return the minutes, oldest brief first.

    ``lines`` are the ledger's lines about briefs, as in ``Journal.briefs``.
    """
    became = {e.talk["brief"]: e for e in history.experiments if isinstance(e.talk.get("brief"), int)}
    ended = {line["brief"]: line for line in lines if line.get("event") == "brief_ended"}
    given = [line for line in lines if line.get("event") == "brief" and isinstance(line.get("brief"), int)]
    return tuple(_minute(line, became.get(line["brief"]), ended.get(line["brief"])) for line in given)


def _minute(line: Mapping[str, Any], e: Experiment | None, ended: Mapping[str, Any] | None) -> Minute:
    outcome, reason, number = "open", "", None
    if e is not None:
        outcome, number = e.status, e.number
        reason = e.reason if e.failed else ""
    elif ended is not None:
        outcome, reason = str(ended.get("outcome", "dropped")), str(ended.get("reason", ""))
    return Minute(
        number=line["brief"],
        junior=str(line.get("junior", "")),
        kind=str(line.get("kind", "")),
        axis=line.get("axis"),
        question=str(line.get("question", "")),
        time=str(line.get("time", "")),
        outcome=outcome,
        experiment=number,
        reason=reason[:300],
    )
