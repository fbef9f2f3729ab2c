"""Let a chief give briefs to juniors, and hand their proposals to the loop one after the other.

A brief is open from the moment it is written to the end of its experiment.  Two open briefs never have an axis in
common.  A junior that may be asked while an experiment is measured has a thread of its own.  All other juniors are
asked in turn between experiments.  The loop measures and judges each proposal, so a team cannot keep an edit itself.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autoresearch_mlx.agents.hybrid import share_now, turn
from autoresearch_mlx.agents.ideas.axis_names import clean_axis
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.team.agenda import agenda_of
from autoresearch_mlx.agents.team.bracket import brackets
from autoresearch_mlx.agents.team.brief import Brief, briefed
from autoresearch_mlx.agents.team.chief import Chief, brief_from
from autoresearch_mlx.agents.team.critic import Critic
from autoresearch_mlx.agents.team.register import Register, axes_of
from autoresearch_mlx.errors import AgentAway, AgentError, EndpointError
from autoresearch_mlx.experiment import Agent, Context, History, Proposal, Tenant

CHIEF = "chief"
"""Name of the author of bracket proposals, which need no junior."""
_LOOK_SECONDS = 0.05
_MOST_TRIES = 24
"""Maximum number of proposals that an agent without a model makes for a brief, until a proposal is on free axes."""
_FIRST_REST, _LONGEST_REST = 10.0, 1800.0
_BUSY_SECONDS = 1.0


@dataclass(slots=True)
class Work:
    """A junior's work on one brief; ``done`` is set when there is a proposal or an error."""

    brief: Brief
    context: Context
    done: threading.Event = field(default_factory=threading.Event)
    proposal: Proposal | None = None
    error: AgentError | None = None
    reviewed: bool = False


@dataclass(slots=True)
class Junior:
    """One agent of the team, other than the chief and the critic."""

    name: str
    agent: Agent
    thinks: bool
    """True if the agent asks a model; its proposals then count towards the model's ``share``."""
    work: Work | None = None
    away_until: float = 0.0
    rest: float = _FIRST_REST

    def may_think(self, context: Context) -> bool:
        """Return whether the agent may be asked while an experiment is measured."""
        refused = getattr(self.agent, "ahead_refused", None)
        return refused is not None and refused(context) is None


class Team:
    """A team, used by the loop like any other agent.  Each junior has its own office; ``critic`` may be None."""

    name = "team"

    def __init__(self, office: Office, chief: Chief, juniors: Sequence[Junior], critic: Critic | None = None) -> None:
        self._office, self._chief, self._juniors, self._critic = office, chief, tuple(juniors), critic
        self._book = Register(office)
        self._last: tuple[int, Junior | None, Brief] | None = None
        self._bracketed: set[tuple[int, str]] = set()
        self._order: list[int] = []
        self._insisted: set[tuple[str, str]] = set()
        """Junior and title of each proposal that was refused and recorded because its axes belonged to other work."""
        self._error: AgentError | None = None
        self._closed = False

    # --- what the loop calls

    def propose(self, context: Context) -> Proposal:
        """Return the next proposal.  Raises AgentError when no junior has a proposal."""
        if context.feedback and self._last is not None and self._last[0] == context.number:
            if (again := self._again(context)) is not None:
                return again
            context = replace(context, feedback=())
        found = self._next(context, beside=False)
        if found is not None:
            return found
        if self._book.out or self._error is None:
            raise AgentAway("every axis is being measured, or every free junior rests", seconds=_BUSY_SECONDS)
        raise self._error

    def ahead_refused(self, context: Context) -> str | None:
        """Return why no junior may be asked while an experiment is measured; None when a junior may be asked."""
        may = any(junior.may_think(context) for junior in self._juniors)
        return None if may else "no junior may be asked during a run"

    def ahead(self, context: Context) -> Proposal | None:
        """Return a proposal while an experiment is measured; None if the next proposal has to wait for its result."""
        if context.feedback and self._last is not None and self._last[0] == context.number:
            return self._again(context)
        return self._next(context, beside=True)

    def make_room(self, context: Context) -> Mapping[str, float]:
        spent: dict[str, float] = {}
        for junior in self._juniors:
            if isinstance(junior.agent, Tenant):
                for name, seconds in junior.agent.make_room(context).items():
                    spent[name] = spent.get(name, 0.0) + seconds
        return spent

    def memory_words(self, history: History) -> str:
        told = [(j.name, getattr(j.agent, "memory_words", None)) for j in self._juniors]
        return "of " + " and ".join(
            name if words is None else f"{name}, which {words(history)}" for name, words in told
        )

    def close(self) -> None:
        self._closed = True
        for junior in self._juniors:
            if isinstance(junior.agent, Tenant):
                junior.agent.close()
        for voice in (self._chief.voice, self._critic):
            if voice is not None:
                voice.close()

    # --- one proposal

    def _next(self, context: Context, beside: bool) -> Proposal | None:
        self._book.settle(context)
        follow = self._follow_up(context)
        if follow is not None:
            return None if beside else self._bracket(context, *follow)
        there = [junior for junior in self._juniors if time.monotonic() >= junior.away_until]
        thinkers = [junior for junior in there if junior.work is not None or junior.may_think(context)]
        others = [junior for junior in there if junior not in thinkers]
        theirs = bool(thinkers) and (not others or self._models_turn(context))
        self._dispatch(context, thinkers, others, now=theirs)
        if theirs and (found := self._take(context)) is not None:
            return found
        if beside:
            return None
        for at in range(len(others)):
            if (found := self._ask(others[(context.number + at) % len(others)], context)) is not None:
                return found
        return self._take(context)

    def _models_turn(self, context: Context) -> bool:
        return turn(context.number, share_now(self._office.settings.share, context.history))

    # --- brackets

    def _follow_up(self, context: Context) -> tuple[Any, frozenset[str]] | None:
        taken = self._book.taken(context)
        for each in brackets(context):
            axes = axes_of(None, each.files, context.files)
            if (each.of, each.side) not in self._bracketed and not axes & taken:
                return each, axes
        return None

    def _bracket(self, context: Context, found: Any, axes: frozenset[str]) -> Proposal:
        self._bracketed.add((found.of, found.side))
        question = f"Is the best value of #{found.of} between its old and its new value, or beyond the new one?"
        axis = sorted(axes)[0] if axes else None
        best = context.history.incumbent
        parent = best.commit if best is not None else None
        taken = tuple(sorted(self._book.taken(context)))
        brief = Brief(self._book.next_number, CHIEF, "bracket", question, parent, axis, taken, (found.of,))
        self._book.issue(brief, axes, context)
        rationale = f"#{found.of} gained more than three sigma; this is the {found.side} of its step."
        proposal = Proposal(found.title, found.files, axis, rationale, CHIEF, talk={"bracket": [found.of, found.side]})
        return self._handed(proposal, None, brief, context)

    # --- juniors that are asked during a run

    def _dispatch(self, context: Context, thinkers: Sequence[Junior], others: Sequence[Junior], now: bool) -> None:
        """Give briefs to idle juniors: as many briefs as the model's share will need soon."""
        share = share_now(self._office.settings.share, context.history)
        soon = range(context.number, context.number + len(self._juniors) + 1)
        due = len(thinkers) if not others else sum(turn(number, share) for number in soon)
        for junior in thinkers:
            pending = sum(each.work is not None for each in self._juniors)
            if pending >= max(due, int(now)):
                return
            if junior.work is not None or any(out.brief.junior == junior.name for out in self._book.out.values()):
                continue
            brief = self._brief(junior, context, spare=int(bool(others) and not now))
            if brief is None:
                return
            junior.work = Work(brief, context)
            threading.Thread(target=self._think, args=(junior, junior.work), name=junior.name, daemon=True).start()

    def _brief(self, junior: Junior, context: Context, spare: int = 0) -> Brief | None:
        """Write a brief for a junior; None if at most ``spare`` axes are free."""
        taken, agenda = self._book.taken(context), agenda_of(context)
        if len([note for note in agenda.axes if note.axis not in taken]) <= spare:
            return None
        order = self._chief.order(context, agenda, taken, self._book.next_number)
        if order is None:
            return None
        brief = brief_from(order, self._book.next_number, junior.name, context, taken)
        self._book.issue(brief, frozenset({order.axis}), context, order.note)
        return brief

    def _think(self, junior: Junior, work: Work) -> None:
        try:
            work.proposal = self._answer(junior, work.brief, work.context, self._office.settings.repairs + 1, True)
        except AgentError as error:
            work.error = error
        except Exception as error:  # a user's own agent may raise any error
            work.error = AgentError(f"{junior.name} failed: {type(error).__name__}: {error}")
        work.done.set()

    def _take(self, context: Context) -> Proposal | None:
        """Wait for a proposal from the juniors that have briefs, and return it; None if no proposal comes."""
        while not self._closed:
            working = [junior for junior in self._juniors if junior.work is not None]
            ready = [(j, j.work) for j in working if j.work is not None and j.work.done.is_set()]
            if not working:
                return None
            if not ready:
                time.sleep(_LOOK_SECONDS)
                continue
            self._review(context, ready)
            ranked = sorted(ready, key=lambda each: self._rank(each[1].brief.number))
            for junior, work in ranked:
                if junior.work is not work:
                    continue  # dropped by the critic
                junior.work = None
                if work.error is not None:
                    self._failed(junior, work.brief, work.error)
                elif work.proposal is not None and (found := self._fitting(work, context)) is not None:
                    junior.rest = _FIRST_REST
                    return self._handed(found, junior, work.brief, context)
        return None

    def _rank(self, number: int) -> tuple[int, int]:
        return (self._order.index(number) if number in self._order else len(self._order), number)

    def _review(self, context: Context, ready: Sequence[tuple[Junior, Work]]) -> None:
        fresh = [(j, w) for j, w in ready if not w.reviewed and w.proposal is not None and not w.proposal.problem]
        if self._critic is None or not fresh:
            return
        order, drops = self._critic.review(context, [(w.brief, w.proposal) for _, w in fresh if w.proposal is not None])
        self._order = [*self._order, *order]
        for junior, work in fresh:
            work.reviewed = True
            if (reason := drops.get(work.brief.number)) is not None:
                junior.work = None
                self._book.end(work.brief, "dropped", f"by the critic: {reason}")

    def _fitting(self, work: Work, context: Context) -> Proposal | None:
        """Return the proposal as an edit of the present files.

        If the proposal no longer fits the files, end its brief and return None.
        """
        proposal, brief = work.proposal, work.brief
        assert proposal is not None
        if proposal.problem:
            return proposal
        axes = axes_of(proposal.axis, proposal.files, work.context.files)
        if common := axes & self._book.taken(context, but=brief.number):
            self._book.end(brief, "failed", f"its change belongs to an axis of another brief: {sorted(common)[0]}")
            return None
        if proposal.base is None and context.files != work.context.files:
            files = self._office.carry(proposal.files, work.context.files, context.files)
            if isinstance(files, str):
                self._book.end(brief, "conflict", f"another change was kept in the meantime, and {files}")
                return None
            proposal = replace(proposal, files=files)
        self._book.out[brief.number].axes |= axes
        return proposal

    # --- juniors that are asked in turn

    def _ask(self, junior: Junior, context: Context) -> Proposal | None:
        if junior.thinks:
            brief = self._brief(junior, context)
            if brief is None:
                return None
        else:
            best = context.history.incumbent
            words = "What is the most promising step on the axes that are free?"
            parent, taken = best.commit if best is not None else None, tuple(sorted(self._book.taken(context)))
            brief = Brief(self._book.next_number, junior.name, "explore", words, parent, None, taken)
        try:
            tries = self._office.settings.repairs + 1 if junior.thinks else _MOST_TRIES
            proposal = self._answer(junior, brief, context, tries, False)
        except AgentError as error:
            if brief.number not in self._book.out:
                self._book.issue(brief, frozenset(), context)
            self._failed(junior, brief, error)
            return None
        axes = axes_of(proposal.axis, proposal.files, context.files)
        common = axes & self._book.taken(context, but=brief.number)
        if common and not junior.thinks and (junior.name, proposal.title) in self._insisted:
            return None
        if not junior.thinks:
            axis = None if common else clean_axis(proposal.axis) or next(iter(sorted(axes)), None)
            self._book.issue(replace(brief, axis=axis), axes - common, context)
        else:
            self._book.out[brief.number].axes |= axes
        brief = self._book.out[brief.number].brief
        if not proposal.problem and common:
            self._insisted.add((junior.name, proposal.title))
            self._book.end(brief, "failed", f"its change belongs to an axis of another brief: {sorted(common)[0]}")
            return None
        return self._handed(proposal, junior, brief, context)

    def _answer(self, junior: Junior, brief: Brief, context: Context, tries: int, ahead: bool) -> Proposal:
        """Ask a junior.  If the answer has no edit, or changes an axis of another brief, ask again with the reason."""
        feedback: tuple[str, ...] = ()
        proposal: Proposal | None = None
        think = getattr(junior.agent, "ahead", None) if ahead else None
        for _ in range(tries):
            asked = briefed(replace(context, feedback=feedback), brief)
            answer = think(asked) if think is not None else None
            before, proposal = proposal, answer if answer is not None else junior.agent.propose(asked)
            if not isinstance(proposal, Proposal):
                raise AgentError(f"{junior.name} returned {type(proposal).__name__}, not a Proposal")
            common = axes_of(proposal.axis, proposal.files, context.files) & frozenset(brief.must_not)
            why = proposal.problem or (f"{sorted(common)[0]} is the axis of another brief" if common else "")
            if not why or proposal == before:
                break
            feedback = (*feedback, why)
        assert proposal is not None
        return proposal

    def _again(self, context: Context) -> Proposal | None:
        """Ask the author of a refused proposal for another proposal.

        Returns None for a follow-up of :mod:`bracket`, which has no junior to ask.
        """
        assert self._last is not None
        _, junior, brief = self._last
        if junior is None:
            self._book.end(brief, "dropped", context.feedback[-1].splitlines()[0])
            return None
        try:
            proposal = junior.agent.propose(briefed(context, brief))
        except AgentError as error:
            self._failed(junior, brief, error)
            return None
        if axes := axes_of(proposal.axis, proposal.files, context.files) & self._book.taken(context, but=brief.number):
            proposal = replace(proposal, files={}, problem=f"{sorted(axes)[0]} is the axis of another brief")
        return self._handed(proposal, junior, brief, context)

    # --- the ledger

    def _handed(self, proposal: Proposal, junior: Junior | None, brief: Brief, context: Context) -> Proposal:
        self._last = context.number, junior, brief
        out = self._book.out.get(brief.number)
        told: dict[str, Any] = {"brief": brief.number, "junior": brief.junior, "kind": brief.kind}
        if out is not None:
            out.number = context.number
            told |= {"note": out.note} if out.note else {}
        return replace(proposal, axis=proposal.axis or brief.axis, talk={**proposal.talk, **told})

    def _failed(self, junior: Junior, brief: Brief, error: AgentError) -> None:
        """End a brief whose junior gave no answer.

        The junior then gets no brief for a while, or, if the error is permanent, for the rest of the run.
        """
        self._error = error
        passing = isinstance(error, AgentAway) or (
            isinstance(error, EndpointError) and error.kind not in ("refused", "overflow")
        )
        asked = error.seconds if isinstance(error, AgentAway) else None
        rest = (junior.rest if asked is None else asked) if passing else math.inf
        junior.away_until, junior.rest = time.monotonic() + rest, min(2 * junior.rest, _LONGEST_REST)
        until = f"for {rest:.0f} s" if passing else "for the rest of this run"
        self._office.say(f"{junior.name}: {error}; this junior gets no brief {until}")
        self._book.end(brief, "failed", str(error))
