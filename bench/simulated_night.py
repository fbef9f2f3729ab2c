"""Simulate nights on a landscape: the loop's own rule, with any proposer, and with one or several lanes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from autoresearch_mlx.experiment import (
    Context,
    Experiment,
    Failure,
    History,
    KnobChanges,
    Measurement,
    Proposal,
    Running,
    Status,
)
from autoresearch_mlx.lab.source import changed_knobs, read_knobs, set_knobs
from bench.fitted import Fitted
from bench.landscapes import Landscape as Drawn
from bench.landscapes import Values

FILE = "train_mlx.py"
MARGIN = 1.0
"""Gain in sigma that an experiment must exceed to be kept."""

Landscape: TypeAlias = Drawn | Fitted
Proposer: TypeAlias = Callable[[Context], Proposal]
"""Function that returns the proposal for a context, like the method ``propose`` of an agent."""


@dataclass(frozen=True, slots=True)
class Night:
    """One search on one landscape: true value of the chosen configuration, and failures so far, after each trial."""

    chosen: tuple[float, ...]
    failures: tuple[int, ...]
    seconds: float
    """Seconds spent on proposals in all trials."""


def local(make: Callable[[int], Proposer], lanes: int = 1) -> Callable[[Landscape, int, int], Night]:
    """Return a function that simulates a night with ``lanes`` lanes; ``make(seed)`` returns the proposer."""

    def night(landscape: Landscape, trials: int, seed: int) -> Night:
        session = _Session(landscape, np.random.default_rng([seed, 1]))
        propose = make(seed)
        chosen: list[float] = []
        failures: list[int] = []
        while len(chosen) < trials:
            while len(session.running) < min(lanes, trials - len(chosen)):
                session.begin(propose, seed)
            session.end()
            if not chosen or session.done[-1].status == "keep":
                best = true_value(landscape, values_of(session.text))
            chosen.append(best)
            failures.append(sum(e.failed for e in session.done))
        return Night(tuple(chosen), tuple(failures), session.seconds)

    return night


class _Session:
    """A simulated session on a landscape, with the records that the loop would keep.  Experiments end in the order in
    which they began."""

    def __init__(self, landscape: Landscape, rng: np.random.Generator) -> None:
        self.landscape, self.rng, self.seconds = landscape, rng, 0.0
        self.text = landscape.knobs.text
        self.seen: list[Values] = [values_of(self.text)]
        self.begun = 0
        self.running: list[tuple[Running, str, str]] = []
        """Running experiments, each with the text on which it is based and the commit of that text."""
        self.done: list[Experiment] = []
        self.talks: dict[int, Mapping[str, Any]] = {}
        """What a model said, by the number of the experiment; the form of its next answer depends on it."""
        self._record(0, "keep", landscape.knobs.start, landscape.measure(landscape.knobs.start, rng), None, None, {})

    @property
    def history(self) -> History:
        return History(tuple(self.done), "val_bpb", "min")

    def begin(self, propose: Proposer, seed: int) -> None:
        """Ask for a proposal and start its experiment; an experiment without an edit fails in :meth:`end`."""
        self.begun += 1
        running = tuple(now for now, _, _ in self.running)
        sigma = self.landscape.sigma
        context = Context(self.begun, "", {FILE: self.text}, self.history, "", seed, sigma=sigma, running=running)
        began = time.perf_counter()
        after, self.talks[self.begun] = _asked(propose, context, self.seen)
        self.seconds += time.perf_counter() - began
        changes = {} if after is None else changed_knobs(self.text, after)
        base = self.history.incumbent
        assert base is not None and base.commit is not None
        edit = Running(self.begun, "", None, changes, {FILE: after or self.text})
        self.running.append((edit, self.text, base.commit))

    def end(self) -> None:
        """Finish the oldest experiment by the loop's rule.

        If another experiment was kept in the meantime, the oldest one is first compared with the version on which it is
        based.  If it loses, it is discarded.  If it wins, it is combined with the kept change, measured again and
        compared with the new incumbent.
        """
        edit, before, base = self.running.pop(0)
        if not edit.knobs:
            self.rng.normal()  # draw anyway, so that all searches have the same noise in the same trial
            self._record(edit.number, "invalid", None, None, None, base, {})
            return
        after, changes = edit.files[FILE], edit.knobs
        over = next(e.value for e in self.done if e.commit == base)
        value = self._measured(after)
        status = self._status(value, over)
        against = None if self.text == before else base
        if against is not None and status == "keep":
            if set(changes) & set(changed_knobs(before, self.text)):
                self._record(edit.number, "conflict", values_of(after), value, None, base, changes, against)
                return
            after = set_knobs(self.text, {name: new for name, (_, new) in changes.items()})
            now = self.history.incumbent
            assert now is not None and now.commit is not None
            changes, base, against, over = changed_knobs(self.text, after), now.commit, None, now.value
            value = self._measured(after)
            status = self._status(value, over)
        gain = None if value is None or over is None else over - value
        self._record(edit.number, status, values_of(after), value, gain, base, changes, against)
        if status == "keep":
            self.text = after

    def _measured(self, text: str) -> float | None:
        return self.landscape.measure(values_of(text), self.rng)

    def _status(self, value: float | None, over: float | None) -> Status:
        if value is None or over is None:
            return "crash"
        return "keep" if over - value > MARGIN * self.landscape.sigma else "discard"

    def _record(
        self,
        number: int,
        status: Status,
        values: Values | None,
        value: float | None,
        gain: float | None,
        base: str | None,
        changes: KnobChanges,
        against: str | None = None,
    ) -> None:
        memory = self.landscape.memory_mb(values) if values is not None and value is not None else None
        failure: Failure | None = "crash" if value is None else None
        run = Measurement(value, seed=0, failure=failure, peak_memory_mb=memory)
        self.done.append(
            Experiment(
                number,
                status,
                value,
                gain,
                f"c{number}",
                base,
                None,
                "",
                None,
                changes,
                "bench",
                "",
                "",
                "",
                measurements=(run,) if values is not None else (),
                against=against,
                talk=self.talks.get(number, {}),
            )
        )


def _asked(propose: Proposer, context: Context, seen: list[Values]) -> tuple[str | None, Mapping[str, Any]]:
    """Ask up to three times for a new text, as the loop does; return the text or None, and the proposal's talk."""
    talk: Mapping[str, Any] = {}
    for _ in range(3):
        proposal = propose(context)
        talk = proposal.talk
        text = proposal.files.get(FILE)
        if text is not None and values_of(text) not in seen:
            seen.append(values_of(text))
            return text, talk
        problem = proposal.problem or "the same as an earlier experiment"
        context = replace(context, feedback=(*context.feedback, problem))
    return None, talk


def values_of(text: str) -> dict[str, Any]:
    return {name: knob.value for name, knob in read_knobs(text).items()}


def true_value(landscape: Landscape, values: Values) -> float:
    value = landscape.true(values)
    if value is None:
        raise ValueError("a configuration that fails was chosen")
    return value
