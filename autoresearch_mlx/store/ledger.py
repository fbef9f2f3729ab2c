"""Keep the ledger, the journal of a session: JSON lines that are only appended; all values are computed from them.

    session     once, first: tag, target, metric, direction, conditions
    started     before any work on an experiment: its number, its base commit and, with several lanes, its worker
    proposed    in a fleet, the proposal of a started experiment, so that the experiment can go on after a crash
    moved       the worker of a fleet that continues a started experiment
    finished    the complete experiment
    abandoned   the agent had nothing to propose; the number is free again
    carried     the change of an experiment was carried over to a newer incumbent; the line has the earlier runs of the
                change, which do not count any more
    agenda      the notes of the chief of a team
    brief       a brief of the chief to a junior (:mod:`minutes`)
    brief_ended a brief that led to no experiment, and why
    accepted    a person vouches for the gain of an experiment that was too good to be believed
    repeated    one more run of a kept experiment
    epoch       from here on the session measures in this regime (:mod:`regimes`): the machine drifted or was changed;
                with ``machine`` and ``beside``, only this machine of a fleet measures in this regime
    late        a run that a machine of a fleet delivered too late to count, after another machine had made it
    rules       the settings that verdicts depend on have changed (:mod:`rules`)
    paired      one run of a certification
    certified   the result of a certification
    in_step     how much a kept kernel speeds up the whole training step (`kernel verify`)
    alone       one run of a single change of a session, or of the baseline for comparison (`finalize`)
    finalized   the findings of `finalize`, and the branches that it made

Every line is on the disk before work continues (:mod:`journal`).  A process that dies leaves ``started`` without
``finished``.  Lines and keys that this version does not know stay as they are.  ``results.tsv`` is a table that is
rewritten from the ledger.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from autoresearch_mlx.errors import READ_ONLY, LedgerError
from autoresearch_mlx.experiment import Experiment, History, Repeat
from autoresearch_mlx.store.journal import SCHEMA, append, mend, stamp, whole_lines
from autoresearch_mlx.store.records import experiment_from, experiment_to, measurement_from
from autoresearch_mlx.store.results import write_results

FILE = "ledger.jsonl"


@dataclass(frozen=True, slots=True)
class Open:
    """An experiment that was started and not finished."""

    number: int
    base: str
    time: str
    worker: str | None = None
    """Name of the worker that measures the experiment, or None if the session has only one worker."""
    proposal: Mapping[str, Any] = field(default_factory=dict)
    """In a fleet, the facts about the proposal that the experiment's commit does not contain: agent, axis, rationale,
    talk."""


@dataclass(frozen=True, slots=True)
class Regime:
    """A span of unchanged measuring conditions: one comparability key, between two drifts of the machine."""

    parts: Mapping[str, Any] | None
    """The parts of the key by name, or None in a ledger that names no key."""
    drift: int = 0
    """Number of earlier regimes with the same key; each of these regimes ended when the machine drifted."""
    machine: str = ""
    """Name of the fleet's machine that measures in this regime, or an empty string for the machine that runs the
    session."""


@dataclass(frozen=True, slots=True)
class Journal:
    """The contents of a ledger, after a replay of its events."""

    session: Mapping[str, Any]
    history: History
    running: tuple[Open, ...]
    """The experiments that were started and not finished, oldest first; more than one only with several lanes."""
    pairs: tuple[Mapping[str, Any], ...] = ()
    """The ledger's lines about runs of certifications, oldest first."""
    certificates: tuple[Mapping[str, Any], ...] = ()
    alone: tuple[Mapping[str, Any], ...] = ()
    """The ledger's lines about runs of single changes since the last finished `finalize`, oldest first."""
    regimes: Mapping[int, Regime] = field(default_factory=lambda: {0: Regime(None)})
    """Regimes by number, in order of appearance; ``history.regime`` is the number of the current regime."""
    newest: Mapping[str, int] = field(default_factory=dict)
    """Number of the regime in which each machine of a fleet measures now, by the machine's name."""
    records: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """The ledger's lines about finished experiments, in the order of the history, with all keys, even keys that this
    version does not know."""

    briefs: tuple[Mapping[str, Any], ...] = ()
    """The ledger's lines about the briefs of a team, oldest first."""
    rules: Mapping[str, Any] | None = None
    """The present settings on which verdicts depend, by name, or None in a ledger that does not record them."""
    rule_changes: tuple[Mapping[str, Any], ...] = ()
    """The ledger's lines about changes of these settings, oldest first."""
    in_step: tuple[Mapping[str, Any], ...] = ()
    """The ledger's lines about how much kept kernels speed up the whole training step, oldest first."""

    @property
    def comparability(self) -> Mapping[str, Any] | None:
        """The parts of the current regime's key, or None in a ledger that names no key."""
        return self.regimes[self.history.regime].parts

    def seen_by(self, machine: str) -> History:
        """Return the history for one machine of a fleet: the machine's newest regime is the current regime.

        An empty name stands for the session's own machine.  The regime of a machine that has not measured yet is -1.
        """
        if not machine:
            return self.history
        own = frozenset(number for number, regime in self.regimes.items() if regime.machine == machine)
        return replace(self.history, regime=self.newest.get(machine, -1), own=own)

    @property
    def next_number(self) -> int:
        """Number of the next experiment.

        The number is 0 until a baseline is kept, so that a failed baseline is measured again under the same number.
        """
        if self.history.baseline is None:
            return 0
        return max(e.number for e in self.history.experiments) + 1

    @property
    def free_number(self) -> int:
        """The lowest number that no worker has claimed yet."""
        return max((self.next_number, *(each.number + 1 for each in self.running)))


def read(path: Path) -> Journal:
    """Replay a ledger.  Raises LedgerError with file and line for a line that cannot be understood."""
    return _replayed(path).journal()


def _replayed(path: Path) -> _Replay:
    replay = _Replay()
    try:
        for number, line in whole_lines(path):
            try:
                replay.take(orjson.loads(line))
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
                said = f"{path}, line {number}: {kind}{error}"
                hint = "the file was changed by hand or by another program; restore that line"
                raise LedgerError(said, hint) from None
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        hint = "put the file back, or start another session with --tag NAME" if missing else "correct its permissions"
        raise LedgerError(f"{path} cannot be read: {error.strerror}", hint) from None
    if not replay.session:
        raise LedgerError(
            f"{path} contains no session", "remove the session's folder, or start another session with --tag NAME"
        )
    return replay


class _Replay:
    """Builds the contents of a ledger from its events, one by one."""

    def __init__(self) -> None:
        self.session: Mapping[str, Any] = {}
        self._finished: dict[int, tuple[Experiment, Mapping[str, Any]]] = {}
        self._started: dict[int, Open] = {}
        self._repeats: list[Repeat] = []
        self._regime = 0
        self._regimes = {0: Regime(None)}
        self._newest: dict[str, int] = {}
        self._rules: Mapping[str, Any] | None = None
        self._rule_changes: list[Mapping[str, Any]] = []
        self._pairs: list[Mapping[str, Any]] = []
        self._certificates: list[Mapping[str, Any]] = []
        self._alone: list[Mapping[str, Any]] = []
        self._briefs: list[Mapping[str, Any]] = []
        self._in_step: list[Mapping[str, Any]] = []

    def take(self, event: Any) -> None:
        """Add one event to the contents.

        Raises LookupError, TypeError, ValueError or AttributeError for a malformed event.
        """
        kind = event.get("event")
        if kind == "session":
            self.session = event
            self._kind = event["metric"], event["direction"]
            self._regimes[0] = Regime(event.get("comparability"))
            self._rules = event.get("rules")
        elif kind == "started":
            self._started[event["number"]] = Open(event["number"], event["base"], event["time"], event.get("worker"))
        elif kind in ("proposed", "moved"):
            self._continue(event)
        elif kind == "finished":
            experiment = experiment_from(event)
            self._finished.pop(experiment.number, None)
            self._finished[experiment.number] = (experiment, event)
            self._started.pop(experiment.number, None)
            if experiment.number == 0 and experiment.status == "keep":
                self._follow(experiment)
        elif kind == "abandoned":
            self._started.pop(event.get("number"), None)
        elif kind == "repeated":
            self._repeats.append(Repeat(event["number"], event["during"], measurement_from(event["measurement"])))
        elif kind == "epoch":
            self._enter(event)
        elif kind == "rules":
            self._rules = event["rules"]
            self._rule_changes.append(event)
        elif kind == "paired":
            self._pairs.append(event)
        elif kind == "certified":
            self._certificates.append(event)
        elif kind == "in_step":
            self._in_step.append(event)
        elif kind in ("agenda", "brief", "brief_ended"):
            self._briefs.append(event)
        elif kind == "alone":
            self._alone.append(event)
        elif kind == "finalized":
            self._alone.clear()

    def _enter(self, event: Any) -> None:
        """Enter a regime.

        The last ``takes`` repeats, which showed a drift, become the first runs of the regime.  A regime that is entered
        again keeps its key.  Ledgers of earlier versions never enter a regime again.
        """
        number, takes, parts = int(event["epoch"]), int(event.get("takes", 0)), event.get("comparability")
        machine = str(event.get("machine", ""))
        before = self._newest.get(machine, self._regime)
        parts = self._regimes[before].parts if parts is None else parts
        like = [regime for regime in self._regimes.values() if regime.machine == machine]
        known = self._regimes.get(number, Regime(parts, sum(regime.parts == parts for regime in like), machine))
        self._regimes[number] = known if known.parts is not None else replace(known, parts=parts)
        if machine:
            self._newest[machine] = number
        if not event.get("beside"):
            self._regime = number
        own = [at for at, old in enumerate(self._repeats) if not machine or old.measurement.regime == before]
        for at in own[len(own) - takes :]:
            old = self._repeats[at]
            self._repeats[at] = replace(old, measurement=replace(old.measurement, regime=number))

    def _continue(self, event: Any) -> None:
        number = event["number"]
        if (left := self._started.get(number)) is not None:
            told = {name: event[name] for name in ("agent", "axis", "rationale", "talk", "base") if name in event}
            self._started[number] = replace(
                left, worker=event.get("worker", left.worker), proposal={**left.proposal, **told}
            )

    def _follow(self, baseline: Experiment) -> None:
        """If a machine of a fleet measured the baseline, make that machine's regime the session's own."""
        number = next((m.regime for m in baseline.measurements if not m.tainted), 0)
        if number in self._regimes and self._regimes[number].machine:
            self._regime = number

    def journal(self) -> Journal:
        """Return the contents of the ledger after the events so far."""
        experiments = tuple(e for e, _ in self._finished.values())
        history = History(experiments, *self._kind, repeats=tuple(self._repeats), regime=self._regime)
        records = tuple(r for _, r in self._finished.values())
        return Journal(
            self.session,
            history,
            tuple(self._started.values()),
            tuple(self._pairs),
            tuple(self._certificates),
            tuple(self._alone),
            dict(self._regimes),
            dict(self._newest),
            records=records,
            briefs=tuple(self._briefs),
            rules=self._rules,
            rule_changes=tuple(self._rule_changes),
            in_step=tuple(self._in_step),
        )


class Ledger:
    """The only writer of a session's ledger; it must be used inside :func:`~autoresearch_mlx.store.locks.locked`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE
        self._whole = False
        """Whether an incomplete last line has been looked for."""
        self._replay: _Replay | None = None
        self._stamp: tuple[int, int] | None = None
        """Stamp of the file when it was last replayed."""

    def read(self) -> Journal:
        """Return the present contents of the ledger.  The file is read again only if another process has changed it.

        Raises LedgerError.
        """
        if self._replay is None or stamp(self.path) != self._stamp:
            self._stamp = stamp(self.path)
            self._replay = _replayed(self.path)
        return self._replay.journal()

    def append(self, event: str, **fields: Any) -> None:
        """Write one line and wait until it is on the disk.

        Raises LedgerError when the line cannot be written, and ValueError for a number that is not finite, which is an
        error of this program.
        """
        line = json.dumps({"schema": SCHEMA, "event": event, **fields}, allow_nan=False, ensure_ascii=False).encode()
        self.mend()
        known, self._replay = self._replay if stamp(self.path) == self._stamp else None, None
        try:
            with self.path.open("ab", buffering=0) as file:
                append(file, line)
        except OSError as error:
            raise self._unwritable(error) from None
        if known is not None:
            known.take(orjson.loads(line))
            self._replay, self._stamp = known, stamp(self.path)

    def _unwritable(self, error: OSError) -> LedgerError:
        said = f"{self.path} cannot be written: {error.strerror}"
        hint = "free some space or correct the permissions, then `autoresearch-mlx run` continues"
        return LedgerError(said, READ_ONLY if error.errno == errno.EROFS else hint)

    def mend(self) -> None:
        """Remove an incomplete last line; only the first call does so.  The caller must hold the session's lock."""
        if not self._whole and self.path.exists():
            try:
                with self.path.open("r+b", buffering=0) as file:
                    mend(file)
            except OSError as error:
                raise self._unwritable(error) from None
        self._whole = True

    def finish(self, experiment: Experiment) -> None:
        """Write a finished experiment, and the table ``results.tsv``.  Raises LedgerError or OSError."""
        self.append("finished", **experiment_to(experiment))
        write_results(self.folder, self.read().history)
