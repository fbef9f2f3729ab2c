"""Replay the winners of a table on this machine: each winner alone against the baseline, then several together.

Without a table, the agent replays two lists: the winners on the H100, then the changes on which several logs of Macs
agree.  If two winners lead to the same files here, these files are measured once.

The next play follows from the history alone, so a resumed session continues where it stopped.  A play counts as tried
when any agent has measured files with the same fingerprint.  If the loop refuses a play, the agent proposes it again
unchanged.  Then the loop logs the play as invalid, because it is a result that a play cannot run here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch_mlx import terms
from autoresearch_mlx.agents.playbook.carry import Play, carry
from autoresearch_mlx.agents.playbook.winners import Winner, agreed, winners
from autoresearch_mlx.compare.log import METRIC
from autoresearch_mlx.compare.reference import apple_logs, h100, read_reference
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Context, Experiment, Proposal
from autoresearch_mlx.lab.source import describe, fingerprint

_INTERRUPTED = 2
"""A play that was interrupted this many times is given up."""


def _quiet(text: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class _Alone:
    """A play that is applied alone to the baseline: the resulting files, and the outcome."""

    play: Play
    files: Mapping[str, str]
    outcome: Experiment | None
    """The experiment that tried the play; None if no experiment has tried it."""
    gain: float | None
    """Gain over the baseline's value, in the metric's unit; positive is better."""


class Playbook:
    """The agent ``playbook``.  Raises TableError for a table that cannot be read, and LabError for a missing table."""

    name = "playbook"

    def __init__(self, table: Path | None = None, say: Callable[[str], None] = _quiet) -> None:
        reference = read_reference(table) if table is not None else h100()
        self._source = reference.name
        self._places = [f"the {reference.name}"] if table is not None else [f"the {reference.name}", "Macs"]
        self._winners = winners(reference) + (agreed(apple_logs()) if table is None else ())
        self._say = say
        self._told = False
        self.skipped: tuple[str, ...] = ()
        """Knobs of winners that cannot be changed in this session's files, each with the reason."""

    def propose(self, context: Context) -> Proposal:
        """Return the next play.

        Raises AgentError when all plays are done, and for a session with another metric than the playbook's.
        """
        baseline, commit = self._baseline(context)
        before = context.read(commit)
        plays = self._plays(before)
        tried = [_alone(play, before, baseline, context) for play in plays]
        if (new := next((each for each in tried if each.outcome is None), None)) is not None:
            title = f"{self._chapter(new.play.winner)}: {new.play.told(before)}"
            return self._proposal(title, [new.play], new.files, commit)
        for stack, files in _stacked(tried, before, commit, context):
            chapter = " and ".join(dict.fromkeys(self._chapter(play.winner) for play in stack))
            title = f"{chapter}, stacked: {' + '.join(play.told(context.files) for play in stack)}"
            return self._proposal(title, stack, files, None)
        raise self._done(tried, context)

    def _all(self, word: str) -> str:
        return " and ".join(f"{word} {place}" for place in self._places)

    def _chapter(self, winner: Winner) -> str:
        return "Macs" if winner.log else self._source

    def _baseline(self, context: Context) -> tuple[Experiment, str]:
        history = context.history
        if (history.metric, history.direction) != (METRIC, "min"):
            here = f"{history.metric} ({history.direction})"
            said = f"the playbook knows changes that lower {METRIC}, but this session measures {here}"
            raise AgentError(said, "--agent knobs works on any metric")
        baseline = history.baseline
        if baseline is None or baseline.commit is None or baseline.value is None:
            raise AgentError("the session has no baseline to replay against", "`autoresearch-mlx run` measures one")
        return baseline, baseline.commit

    def _plays(self, before: Mapping[str, str]) -> list[Play]:
        """Return the winners that fit these files; print once which winners do not fit."""
        plays = [carry(winner, before) for winner in self._winners]
        self.skipped = tuple(reason for play in plays for reason in play.left_out)
        fitting = [play for play in plays if play.steps]
        if not self._told:
            self._told = True
            left_out = f"; skipped: {_by_reason(self.skipped)}" if self.skipped else ""
            self._say(f"playbook: {len(fitting)} of {len(plays)} winners {self._all('on')} fit here{left_out}")
        return fitting

    def _proposal(self, title: str, plays: list[Play], files: Mapping[str, str], base: str | None) -> Proposal:
        newest = plays[-1]
        rationale = "\n".join(self._rationale(play) for play in plays)
        return Proposal(title, files, newest.winner.axis, rationale, self.name, base=base)

    def _rationale(self, play: Play) -> str:
        winner = play.winner
        numbers = ", ".join(map(str, winner.runs))
        runs = f"{'run' if len(winner.runs) == 1 else 'runs'} {numbers} there"
        where = f"in the log {winner.log}" if winner.log else f"on the {self._source}"
        gained = f"{describe(winner.changes)} gained {terms.amount(winner.gain)} {where} ({runs})."
        if winner.log:
            against = f"; in {winner.disagree} it won in another direction" if winner.disagree else ""
            gained += (
                f" {winner.log} is one of {winner.agree} logs of Macs in which the knob won in this direction{against}."
            )
        rules = "; ".join(f"{step.name}: {step.why}" for step in play.steps)
        left_out = "".join(f" Left out: {reason}." for reason in play.left_out)
        return f"{gained} Carried over {rules}.{left_out}"

    def _done(self, tried: list[_Alone], context: Context) -> AgentError:
        gained = [each for each in tried if _gained(each)]
        failed = sum(each.gain is None for each in tried)
        held = sum(each.play.applied(context.files) == {} for each in tried)
        said = (
            f"the playbook is finished: {terms.plural(len(tried), 'winner')} {self._all('of')} tried alone,"
            f" {len(gained)} gained over the baseline here, {failed} failed, {held} now in the incumbent"
        )
        if not tried:
            said = f"none of the {len(self._winners)} winners {self._all('on')} fits: {_by_reason(self.skipped)}"
        return AgentError(said, "`autoresearch-mlx compare` shows the results of both machines side by side")


def _by_reason(skipped: Iterable[str]) -> str:
    """Group names by reason: ``VALUE_WD, DEPTH: no such knob in the file``."""
    names: dict[str, list[str]] = {}
    for each in skipped:
        name, _, reason = each.partition(": ")
        names.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(those)}: {reason}" for reason, those in names.items())


def _alone(play: Play, before: Mapping[str, str], baseline: Experiment, context: Context) -> _Alone:
    files = play.applied(before) or {}
    outcome = _outcome(fingerprint({**before, **files}), context)
    gain = None
    if outcome is not None and outcome.value is not None and baseline.value is not None:
        gain = context.history.gain(outcome.value, over=baseline.value)
    return _Alone(play, files, outcome, gain)


def _outcome(mark: str, context: Context) -> Experiment | None:
    """Return an earlier experiment whose files have the fingerprint ``mark``; None if there is no such experiment.

    Experiments with a value are preferred.  If every such experiment was interrupted, there must be at least
    ``_INTERRUPTED``; with fewer, the result is None.
    """
    same = [e for e in context.history.experiments if e.fingerprint == mark]
    measured = [e for e in same if e.value is not None]
    failed = [e for e in same if not e.cut_off]
    given_up = same if len(same) >= _INTERRUPTED else []
    return next(iter([*measured, *failed, *given_up]), None)


def _gained(alone: _Alone) -> bool:
    return alone.gain is not None and alone.gain > 0


def _stacked(
    tried: list[_Alone], before: Mapping[str, str], commit: str, context: Context
) -> Iterator[tuple[list[Play], dict[str, str]]]:
    """Yield the combinations to try next: each play that gained alone, best first, on top of the incumbent.

    If the incumbent is still the baseline, each play on top of it has been measured already.  Then the best play is
    combined with each of the other plays.
    """
    best_first = _one_a_knob(each.play for each in sorted(tried, key=lambda each: -(each.gain or 0.0)) if _gained(each))
    at_baseline = fingerprint(context.files) == fingerprint(before)
    along = best_first[:1] if at_baseline else []
    for play in best_first:
        if play in along or _was_stacked(play, best_first, commit, context):
            continue
        stack = [*along, play]
        files = _all_applied(stack, context.files)
        if files and _outcome(fingerprint({**context.files, **files}), context) is None:
            yield stack, files


def _one_a_knob(plays: Iterable[Play]) -> list[Play]:
    """Return the plays without those that change a knob of an earlier play.

    For example, the winners of both lists may change the batch.
    """
    chosen: list[Play] = []
    moved: set[str] = set()
    for play in plays:
        names = {step.name for step in play.steps}
        if not names & moved:
            chosen.append(play)
            moved |= names
    return chosen


def _all_applied(stack: list[Play], files: Mapping[str, str]) -> dict[str, str] | None:
    """Return the changed files after all plays; None if a knob is missing or a play changes nothing."""
    edited = dict(files)
    for play in stack:
        changed = play.applied(edited)
        if not changed:
            return None
        edited.update(changed)
    return {path: text for path, text in edited.items() if text != files[path]}


def _was_stacked(play: Play, plays: list[Play], commit: str, context: Context) -> bool:
    """Return whether this agent has measured this play on top of another version, or together with another play."""
    mine = [e for e in context.history.experiments if e.agent == Playbook.name and not e.cut_off]
    return any(_has(e, play) and (e.base != commit or sum(_has(e, p) for p in plays) > 1) for e in mine)


def _has(experiment: Experiment, play: Play) -> bool:
    return all(step.name in experiment.knobs for step in play.steps)
