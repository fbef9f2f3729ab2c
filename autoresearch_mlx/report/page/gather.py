"""Gather the values of a session's page from the ledger, from git and from the logs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.compare.machines import fleetwide, levelled
from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.experiment import Direction, Experiment
from autoresearch_mlx.judge.history import gained, runs_of, standing
from autoresearch_mlx.judge.machines import PLATFORM_KEEP
from autoresearch_mlx.judge.shrinkage import BY_SPEED
from autoresearch_mlx.judge.speeds import mean_speed, slowed
from autoresearch_mlx.judge.stages import TOO_GOOD
from autoresearch_mlx.judge.waiting import waiting
from autoresearch_mlx.lab.comparability import Key
from autoresearch_mlx.lab.source import describe
from autoresearch_mlx.report.page import attached
from autoresearch_mlx.report.page.check import read_checked
from autoresearch_mlx.report.page.content import Certified, Head, Mark, Page, Row, Standing
from autoresearch_mlx.report.page.lineage import by_axis, changed, lineage
from autoresearch_mlx.report.page.runs import Clock, clock_of, constant_facts, noise_of, run_facts
from autoresearch_mlx.report.page.spending import causes, spending_of, stops_of
from autoresearch_mlx.report.page.transfer import transfer_of
from autoresearch_mlx.report.status import count_outcomes
from autoresearch_mlx.report.whole_step import whole_step
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import Journal
from autoresearch_mlx.store.locks import holder
from autoresearch_mlx.store.minutes import minutes_of
from autoresearch_mlx.store.rules import changes_in_words

Prices = tuple[float | None, float | None]
"""Prices of a million tokens of prompts, and of a million tokens of replies."""
_NAME = 60
"""Maximum number of columns of an axis or of an agent's name."""


def page_of(folder: Path, root: Path, prices: Prices = (None, None)) -> Page:
    """Gather the page of the session in ``folder``; ``root`` is the lab's folder, which is in a git repository.

    Raises LedgerError, with file and line, when the ledger is missing or damaged, or when the file is not a ledger.
    """
    journal = read_checked(folder)
    history = journal.history
    clock = clock_of(history)
    diffs, missing = _diffs(root, history.experiments)
    levels = levelled(history)
    rows = tuple(replace(row, level=levels.get(row.number)) for row in _rows(folder, history.experiments, clock, diffs))
    rows = tuple(replace(row, ahead=words) for row, words in zip(rows, _ahead(rows, history.direction), strict=True))
    way = lineage(history)
    facts = run_facts(history, clock)
    return Page(
        made=now(),
        head=_head(folder, journal),
        certified=_certified(journal),
        standing=_standing(journal),
        changed=changed(way, attached.between(root, *_ends(way))),
        experiments=rows,
        axes=by_axis(history.experiments),
        transfer=transfer_of(journal, root, constant_facts(history)),
        noise=noise_of(history, clock),
        runs=facts,
        spending=spending_of(folder, history, prices),
        failures=causes(history.experiments),
        stops=stops_of(journal),
        remarks=(*changes_in_words(journal), *missing),
        waiting=waiting(history),
        minutes=tuple(each.words for each in minutes_of(journal.briefs, history)),
        fleet=fleetwide(history),
        whole_step=whole_step(journal),
    )


def _diffs(root: Path, experiments: Sequence[Experiment]) -> tuple[Mapping[str, str], list[str]]:
    try:
        found = attached.diffs_of(root, experiments)
    except WorkspaceError as error:
        return {}, [f"No diffs: {error}."]
    wanted = {e.commit for e in experiments if e.commit and e.base}
    lost = len(wanted - found.keys())
    gone = f"Diffs are missing: git no longer has {terms.plural(lost, 'commit')} of this session."
    return found, [gone] if lost else []


def _head(folder: Path, journal: Journal) -> Head:
    history, session = journal.history, journal.session
    counts = count_outcomes(history.experiments)
    tag = str(session.get("tag") or folder.name)
    times = [e.finished for e in history.experiments if e.finished]
    starts = [e.started for e in history.experiments if e.started]
    conditions = session.get("conditions")
    return Head(
        session=tag,
        branch=str(session.get("branch") or f"autoresearch/{tag}"),
        target=session.get("target"),
        metric=history.metric,
        direction=history.direction,
        agents=tuple(dict.fromkeys(e.agent for e in history.experiments if e.agent)),
        started=starts[0] if starts else None,
        finished=times[-1] if times else None,
        running=holder(folder) not in (None, os.getpid()),  # if this process holds the session, its run is over
        experiments=counts.experiments,
        kept=counts.kept,
        discarded=counts.discarded,
        failed=counts.failed,
        conditions={**_key(journal), **(conditions if isinstance(conditions, Mapping) else {})},
        machine=constant_facts(history),
        interrupted=counts.interrupted,
    )


def _key(journal: Journal) -> Mapping[str, Any]:
    """Return the mark of the comparability key by its name, or an empty mapping if the ledger has no key.

    Only values under equal marks can be compared.
    """
    return {} if journal.comparability is None else {"comparability_key": Key(journal.comparability).mark}


def _certified(journal: Journal) -> Certified | None:
    if not journal.certificates:
        return None
    found: Mapping[str, Any] = journal.certificates[-1]
    best = journal.history.incumbent
    return Certified(
        effect=found["effect"],
        low=found["low"],
        high=found["high"],
        probability_better=found["probability_better"],
        pairs=found["pairs"],
        certified=bool(found.get("certified")),
        before=found["before"],
        head=found["head"],
        split=str(found.get("split") or "val"),
        time=found.get("time"),
        current=best is not None and best.number == found["head"],
    )


def _standing(journal: Journal) -> Standing:
    history = journal.history
    first, best = history.baseline, history.incumbent
    if first is None or best is None:
        return Standing(None, None, None, None, False)
    was, now = standing(history, first), standing(history, best)
    gain = None if first.number == best.number else gained(history)
    return Standing(
        baseline=Mark(first.number, first.commit, was, terms.one_line(first.title)),
        incumbent=Mark(best.number, best.commit, now, terms.one_line(best.title)),
        gain=gain,
        percent=100 * gain / abs(was) if gain is not None and was and history.metric != terms.LOGARITHM else None,
        chosen=best.number > 0 and not any(run.fresh for run in runs_of(history, best)),
    )


def _ends(way: Sequence[Experiment]) -> tuple[str | None, str | None]:
    return (way[0].commit, way[-1].commit) if way else (None, None)


def _rows(folder: Path, experiments: Sequence[Experiment], clock: Clock, diffs: Mapping[str, str]) -> tuple[Row, ...]:
    room = attached.room_for(len(experiments))
    return tuple(_row(folder, e, clock, diffs.get(e.commit or ""), room) for e in experiments)


def _ahead(rows: Sequence[Row], direction: Direction) -> Iterator[str]:
    """Yield, for each experiment, why it was not kept although its value is better than the incumbent's.

    For any other experiment, the text is empty.
    """
    best: float | None = None
    for row in rows:
        if row.shown is not None and row.status == "keep":
            best = row.shown
        shown = None if row.status not in ("discard", "limit") else row.shown
        better = shown is not None and best is not None and (shown < best if direction == "min" else shown > best)
        yield _why_not_kept(row) if better else ""


def _why_not_kept(row: Row) -> str:
    if row.status == "limit":
        return "better, but it breaks a limit"
    if TOO_GOOD in row.reason:
        return TOO_GOOD
    if PLATFORM_KEEP in row.reason:
        return "better on one chip alone"
    if ", but " in row.reason:
        return "better, but worse in another way"
    if BY_SPEED in row.reason and (row.gain or 0.0) <= 0:
        return "better only by the machine's speed"
    return "better, but within noise" if "sigma" in row.reason else "better, but not kept"


def _row(folder: Path, e: Experiment, clock: Clock, diff: str | None, room: attached.Room) -> Row:
    shown, log = attached.head(diff, room.diff), attached.tail(attached.log_of(folder, e), room.log)
    seconds = sum(m.seconds.total() for m in e.measurements)
    return Row(
        number=e.number,
        status=e.status,
        value=e.value,
        gain=e.gain,
        low=e.effect.get("low"),
        high=e.effect.get("high"),
        raw=e.effect.get("raw"),
        title=attached.words(terms.one_line(e.title), room.words // 4),
        axis=terms.cut(terms.one_line(e.axis), _NAME) if e.axis else None,
        knobs=attached.words(terms.one_line(describe(e.knobs)), room.words // 4),
        agent=terms.cut(terms.one_line(e.agent), _NAME),
        reason=attached.words(terms.one_line(e.reason), room.words // 4),
        rationale=attached.words(terms.printable(e.rationale).strip(), room.words // 4),
        commit=e.commit,
        hours=clock.hours.get(e.number),
        tokens=clock.tokens.get(e.number),
        seconds=seconds if seconds > 0 else None,
        runs=len(e.measurements),
        speed=mean_speed(e.measurements),
        slowed=slowed(e.measurements),
        stopped=any(m.failure == "stopped" for m in e.measurements),
        diff=shown.text,
        diff_cut=shown.cut,
        log=log.text,
        log_cut=log.cut,
    )
