"""Keep the open briefs and the axes that they occupy, and write both into the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autoresearch_mlx.agents.ideas.axis_names import clean_axis
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.team.agenda import agenda_of
from autoresearch_mlx.agents.team.brief import Brief
from autoresearch_mlx.experiment import Context
from autoresearch_mlx.lab.source import axis_of, changed_knobs


@dataclass(slots=True)
class Out:
    """An open brief, the axes that it occupies, and the number of its experiment (None before it is measured)."""

    brief: Brief
    axes: frozenset[str]
    number: int | None = None
    note: str | None = None


class Register:
    """The open briefs of one command `run`.  At the start, briefs that an earlier process left open end as ``lost``."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self.out: dict[int, Out] = {}
        self._agenda: tuple[object, ...] | None = None
        last = 0
        for minute in office.minutes():
            last = max(last, minute.number)
            if minute.outcome == "open":
                self._record(minute.number, "lost", "the process that gave this brief to a junior has ended")
        self.next_number = last + 1

    def taken(self, context: Context, but: int | None = None) -> frozenset[str]:
        """Return the axes of the open briefs and of the running experiments; brief ``but`` is left out."""
        out = [each.axes for number, each in self.out.items() if number != but]
        own = self.out[but].number if but in self.out else None
        # A lane may still list an experiment that the history already records as ended.
        ended = {e.number for e in context.history.experiments}
        busy = [
            frozenset({*_clean(each.axis), *(axis_of(name) for name in each.knobs)})
            for each in context.running
            if each.number != own and each.number not in ended
        ]
        return frozenset().union(*out, *busy)

    def issue(self, brief: Brief, axes: frozenset[str], context: Context, note: str | None = None) -> None:
        """Write a brief into the ledger; if the agenda has changed since the last brief, write the agenda as well."""
        self.next_number = brief.number + 1
        self.out[brief.number] = Out(brief, axes, note=note)
        agenda = agenda_of(context)
        seen = (agenda.stale, agenda.keeps, tuple(note.axis for note in agenda.axes if note.exhausted))
        if seen != self._agenda:
            self._agenda = seen
            self._office.record("agenda", agenda.fields())
        self._office.record("brief", brief.fields())

    def end(self, brief: Brief, outcome: str, reason: str) -> None:
        """Close a brief that led to no experiment, and record the reason."""
        self.out.pop(brief.number, None)
        self._record(brief.number, outcome, reason)

    def settle(self, context: Context) -> None:
        """Close the briefs whose experiments have ended or were never started."""
        done = {e.number: e for e in context.history.experiments}
        running = {each.number for each in context.running}
        for number, out in list(self.out.items()):
            at = out.number
            if at is None or (at not in done and (at in running or at > context.number)):
                continue
            if at in done and done[at].talk.get("brief") == number:
                del self.out[number]
            else:
                self.end(out.brief, "dropped", "it was not measured")

    def _record(self, number: int, outcome: str, reason: str) -> None:
        self._office.record("brief_ended", {"brief": number, "outcome": outcome, "reason": reason[:500]})


def axes_of(axis: str | None, files: Mapping[str, str], before: Mapping[str, str]) -> frozenset[str]:
    """Return the axes that an edit occupies: the axis that it names, and the axes of the constants that it changes."""
    knobs = (name for path, text in files.items() for name in changed_knobs(before.get(path, ""), text))
    return frozenset({*_clean(axis), *(axis_of(name) for name in knobs)})


def _clean(axis: str | None) -> tuple[str, ...]:
    cleaned = clean_axis(axis)
    return () if cleaned is None else (cleaned,)
