"""Write a session and its experiments as plain lines, without colour.

Widths are terminal columns.  Control codes in texts of agents and scripts are removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Direction, Experiment
from autoresearch_mlx.judge.across import name_of
from autoresearch_mlx.judge.early import Account
from autoresearch_mlx.judge.speeds import SLOW, mean_speed, slowed
from autoresearch_mlx.judge.waiting import Waiting
from autoresearch_mlx.report.conversation import spent_words
from autoresearch_mlx.report.live_line import phase_word, time_left, waiting
from autoresearch_mlx.report.now import Running
from autoresearch_mlx.report.status import Mark, Speed, Status, count_outcomes
from autoresearch_mlx.store.minutes import Minute
from autoresearch_mlx.store.rules import MARK


def limits_in_words(limits: Mapping[str, Any]) -> str:
    """Return text such as ``at 07:00, or after 40 experiments, whichever comes first``.

    ``limits`` has the fields of a Policy.
    """
    words = [say(limits[name]) for name, say in _limit_words().items() if limits.get(name) is not None]
    return ", or ".join(words) + ", whichever comes first" * (len(words) > 1) if words else "when told to"


def _limit_words() -> Mapping[str, Callable[[Any], str]]:
    return {
        "until": lambda at: f"at {time.strftime('%H:%M', time.localtime(at))}",
        "hours": lambda hours: f"{hours:g} hours after its start",
        "experiments": lambda count: f"after {terms.plural(count, 'experiment')}",
        "stall": lambda count: f"after {terms.plural(count, 'experiment')} in a row without a keep",
        "tokens": lambda count: f"once {count:,} tokens are spent",
        "cost": lambda cost: f"once models have cost {cost:g}",
    }


_BETTER = {"min": "lower is better", "max": "higher is better"}
_AXIS = 16
_BRIEFS = 5
"""Number of ended briefs that ``status`` shows."""
_TITLE = 24
"""If titles have fewer columns than this, the table leaves out the axis."""
_ROOM = 45
"""If numbers and title have fewer columns than this, a verdict leaves out its time."""
_LINE = 120
"""Maximum number of columns of a running loop's lines, because longer lines are hard to read."""


def render_status(status: Status, width: int) -> str:
    """Write lines of the form ``name  value``, wrapped at the terminal's width."""
    counts = status.counts
    facts = [
        ("session", f"{status.session} on {status.branch}"),
        ("target", f"{status.target or terms.UNKNOWN}: {status.metric}, {_BETTER[status.direction]}"),
        *([("whole step", status.whole_step)] if status.whole_step else []),
        *([("budget", f"{status.budget} per experiment")] if status.budget else []),
        *([("agent", status.agent)] if status.agent else []),
        ("experiments", f"{counts.experiments:,}: {counts.in_words()}" if counts.experiments else "none yet"),
        ("baseline", _mark(status.baseline)),
        ("incumbent", _mark(status.incumbent) + _progress(status)),
        *(("waiting", each.words) for each in status.waiting),
        ("sigma", _sigma(status)),
        *(("running", running_words(each)) for each in status.lanes or (status.running,)),
    ]
    if status.detached is not None:
        ends = f"`kill {status.running.pid}` ends it" if status.running is not None else ""
        said = f"`autoresearch-mlx wait {status.detached}` gives the verdict of experiment {status.detached}"
        facts.append(("detached", "; ".join(filter(None, (said, ends)))))
    if status.limits is not None:
        facts.append(("ends", _after(status) if status.stopping else limits_in_words(status.limits)))
    if status.pausing and (status.running is None or status.running.phase != "paused"):
        facts.append(("pauses", _after(status)))
    if status.speed is not None:
        facts.append(("speed", _speed(status.speed)))
    if status.disturbed:
        facts.append(("disturbed", _disturbed(status)))
    if status.unconfined:
        runs, last = terms.plural(len(status.unconfined), "run"), status.unconfined[-1]
        facts.append(("sandbox", f"none in {runs}, the last of experiment {last}: edited code ran with your rights"))
    if status.left_out is not None:
        facts += [("left out", words) for words in status.left_out.sentences(status.session)]
    if status.stops and (status.stops.stopped or status.stops.audits):
        facts.append(("stopped", _stops(status.stops)))
    if status.certificate:
        c = status.certificate
        facts.append(("certificate", f"#{c['head']} against #{c['before']}: {c['words']}"))
    if status.spent.calls:
        facts.append(("asked", spent_words(status.spent, status.cost, status.caps)))
    if status.form:
        facts.append(("form", status.form))
    facts += [("brief", each.words) for each in _newest(status.minutes)]
    return "\n".join(line for name, text in facts for line in terms.field(name, text, width, 13))


def _newest(minutes: Sequence[Minute]) -> list[Minute]:
    """Return the briefs that ended last, and then all open briefs."""
    ended = [each for each in minutes if each.outcome != "open"][-_BRIEFS:]
    return [*ended, *(each for each in minutes if each.outcome == "open")]


def _disturbed(status: Status) -> str:
    """Return text such as ``1 run of experiment 3 does not count; `show 3` says why``."""
    *others, last = map(str, status.disturbed_in)
    named = f"experiments {', '.join(others)} and {last}" if others else f"experiment {last}"
    verb = "does" if status.disturbed == 1 else "do"
    which = status.explained[0] if len(status.explained) == 1 else "N"
    why = f"; `show {which}` says why" if status.explained else ""
    return f"{terms.plural(status.disturbed, 'run')} of {named} {verb} not count{why}"


def _mark(mark: Mark | None) -> str:
    if mark is None:
        return terms.UNKNOWN
    speed = f"  at {terms.speed(mark.speed)} speed" if mark.speed is not None else ""
    return f"{terms.value(mark.value)}  #{mark.number}  {(mark.commit or terms.UNKNOWN)[:7]}{speed}"


def _speed(found: Speed) -> str:
    """Return text such as ``62 % of the baseline's in the newest run: ...; 3 of 14 runs under 90 %``."""
    why = f": {terms.one_line(found.disturbed_by)}" if found.disturbed_by else ""
    slow = f"; {found.slow:,} of {terms.plural(found.runs, 'run')} under {terms.speed(SLOW)}" if found.slow else ""
    return f"{terms.speed(found.newest)} of the baseline's in the newest run{why}{slow}"


def _sigma(status: Status) -> str:
    """Return text such as ``0.006912 of one run, from 3 runs of 1 commit``."""
    if status.sigma.value is None:
        return terms.UNKNOWN
    regime = f", regime {status.regime}" if status.regime else ""
    return f"{terms.amount(status.sigma.value)} of one run, from {status.sigma.source}{regime}"


def _stops(account: Account) -> str:
    """Return text such as ``3 losers early, which saved 0:36; 1 loser was allowed to finish, and 0 of these won``."""
    saved = f"{terms.plural(account.stopped, 'loser')} early, which saved {terms.clock(account.saved_seconds)}"
    were = "was" if account.audits == 1 else "were"
    finished = f"{terms.plural(account.audits, 'loser')} {were} allowed to finish"
    return f"{saved}; {finished}" + (f", and {account.wrong} of these won" if account.audits else "")


def _progress(status: Status) -> str:
    """Say how much better the incumbent is than the baseline, in the metric's unit."""
    first, best = status.baseline, status.incumbent
    if first is None or best is None or first.number == best.number:
        return ""
    return "  the baseline cannot be compared" if status.gained is None else f"  {terms.gain(status.gained)} in all"


def _after(status: Status) -> str:
    """Say when the user's order takes effect."""
    running = status.lanes or ((status.running,) if status.running is not None else ())
    numbers = [f"{each.number}" for each in running if each.number is not None]
    several = f"experiments {', '.join(numbers[:-1])} and {numbers[-1]}" if len(numbers) > 1 else ""
    return f"after {several or f'experiment {numbers[0]}'}, by hand" if numbers else "now, by hand"


def running_words(running: Running | None) -> str:
    """Return text such as ``process 12, #5 halve the batch, train, step 143, 4:10 left``."""
    if running is None:
        return "no"
    process = f"process {running.pid}"
    if running.phase == "waiting":
        return f"{process}, {waiting(running.words)}"
    if running.number is None:
        paused = "paused by hand" if running.words is None else f"paused: {running.words}"
        return f"{process}, {paused}" if running.phase == "paused" else process
    process = f"{process}, #{running.number}"
    silent = f"silent for {terms.clock(running.silent_seconds)}" if running.silent_seconds is not None else None
    if running.phase == "propose":
        return ", ".join(fact for fact in (process, "waiting for a proposal", silent) if fact)
    known = [
        f"{process} {terms.one_line(running.title or '')}".rstrip(),
        phase_word(running.phase, running.step) if running.phase else None,
        f"step {running.step:,}" if running.step is not None else None,
        f"loss {running.loss:.4f}" if running.loss is not None else None,
        f"{terms.count(running.tokens_per_second)} tok/s" if running.tokens_per_second is not None else None,
        time_left(running.phase, running.step, running.seconds_left) if running.seconds_left is not None else None,
        silent,
    ]
    return ", ".join(fact for fact in known if fact)


def render_log(
    experiments: Sequence[Experiment],
    metric: str,
    direction: Direction,
    width: int,
    waiting: Sequence[Waiting] = (),
    minutes: Sequence[Minute] = (),
) -> str:
    """Write one row for each experiment, newest last, and a closing line with the counts.

    ``?`` marks the experiments in ``waiting``, which wait for a person; for each of these, a line below the table says
    what to do.  A narrow table leaves out the axis, then the gain.
    """
    if not experiments:
        return "no experiments yet"
    best = next((e.number for e in reversed(experiments) if e.status == "keep"), None)
    head = (" ", "#", "status", metric, "gain", "speed", "axis", "machine", "title")
    held = {each.number for each in waiting}
    rows = [head, *(_row(e, e.number == best, e.number in held) for e in experiments)]
    counts = count_outcomes(experiments)
    note = f"{terms.plural(counts.experiments, 'experiment')}: {counts.in_words()}"
    star = "; * is the incumbent" if best is not None else ""
    star += f"; ! was {MARK} (`show N`)" if any(MARK in e.reason for e in experiments) else ""
    star += "; ~ ran on a slow machine (`show N`)" if any(slowed(e.measurements) for e in experiments) else ""
    if any(row[_MACHINES] != terms.UNKNOWN for row in rows[1:]):
        star += "; each value is from the machine that is named first, and values of two machines cannot be compared"
    below = [f"{note}{star}; {metric}: {_BETTER[direction]}", *(f"? waiting for you: {each.words}" for each in waiting)]
    if any(_at_one_speed(e) for e in experiments):
        below.append(
            "gains allow for the machine's speed, so a value may look better or worse than its gain (`show N`)"
        )
    below += [each.words for each in minutes]
    return "\n".join([*_fit(rows, width), "", *(line for text in below for line in terms.wrap(text, width))])


def _at_one_speed(e: Experiment) -> bool:
    """Return whether the gain was corrected for a slower or faster machine."""
    allowed, error = (float(e.effect.get(name) or 0.0) for name in ("speed_gain", "error"))
    return abs(allowed) > error / 4


def _row(e: Experiment, best: bool, waits: bool) -> tuple[str, ...]:
    marks = "?" * waits + "!" * (MARK in e.reason) + "~" * slowed(e.measurements)
    return (
        "*" if best else " ",
        str(e.number),
        f"{e.status} {marks}".rstrip(),
        terms.value(e.value),
        terms.gain(e.gain),
        terms.speed(mean_speed(e.measurements)),
        terms.cut(terms.one_line(e.axis or terms.UNKNOWN), 24),
        " ".join(dict.fromkeys(name for m in e.measurements if (name := name_of(m)))) or terms.UNKNOWN,
        terms.one_line(e.title) or terms.UNKNOWN,
    )


_VALUE, _GAIN, _SPEED, _AXES, _MACHINES = 3, 4, 5, 6, 7
"""Positions of columns in a row of the log."""


def _fit(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lay out rows as lines, with titles cut to the width that the other columns leave.

    There is a column for the speed only if the speed of a run is known, and a column for the machines only in a fleet.
    """
    longest = max(terms.columns(row[-1]) for row in rows)
    speed = [_SPEED] if any(row[_SPEED] != terms.UNKNOWN for row in rows[1:]) else []
    machines = [_MACHINES] if any(row[_MACHINES] != terms.UNKNOWN for row in rows[1:]) else []
    first = [*range(_VALUE), _VALUE]
    for shown, least in (
        ([*first, _GAIN, *speed, _AXES, *machines], _TITLE),
        ([*first, _GAIN, *speed, *machines], 12),
        ([*first, *speed], 12 if speed else 0),
        (first, 0),
    ):
        left = (0, 2, *(at for at, column in enumerate(shown) if column in (_AXES, _MACHINES)))
        lines = terms.table([[row[i] for i in shown] + ["|"] for row in rows], left=left)
        room = width - terms.columns(lines[0]) + 1
        if room >= min(least, longest):
            break
    return [line[:-1] + terms.cut(row[-1], max(room, 8)) for line, row in zip(lines, rows, strict=True)]


def verdict_line(experiment: Experiment, metric: str, width: int) -> str:
    """Write the line of an experiment that stays on the screen: number, status, then the numbers or the failure.

    A narrow line leaves out the axis, and then the time that the measurements took.
    """
    width = min(width, _LINE)
    status = experiment.status
    head = f"{f'#{experiment.number}':<4} {status:<9} " if len(status) <= 9 else f"#{experiment.number:<3} {status}  "
    spent = f"  {terms.took(_seconds(experiment)):>7}"
    room = width - len(head) - len(spent)
    words = _failure(experiment) if experiment.failed else _numbers(experiment, metric, room)
    if room < _ROOM:
        return terms.cut(head + words, width)
    return head + terms.pad(terms.cut(words, room), room) + spent


def _failure(experiment: Experiment) -> str:
    """Return the reason for a failure, with the experiment's title if the reason does not contain it."""
    reason = terms.one_line(experiment.reason) or "no reason is known"
    title = terms.one_line(experiment.title)
    return reason if not title or title in reason else f"{reason} ({title})"


def _numbers(experiment: Experiment, metric: str, room: int) -> str:
    """Write value and gain, with the metric's name and the axis if these leave room for a title."""
    name = f"{metric} " if room >= _LINE - 30 else ""
    axis = terms.pad(terms.cut(terms.one_line(experiment.axis or terms.UNKNOWN), _AXIS), _AXIS) + "  "
    numbers = f"{name}{terms.value(experiment.value):>8}  {terms.gain(experiment.gain):>9}  "
    shown = axis if room - len(numbers) - len(axis) >= _TITLE else ""
    return f"{numbers}{shown}{terms.one_line(experiment.title) or terms.UNKNOWN}"


def _seconds(experiment: Experiment) -> float | None:
    """Return the sum of the wall-clock seconds of the measurements, or None when no times were recorded."""
    total = sum(m.seconds.total() for m in experiment.measurements)
    return total if total > 0 else None
