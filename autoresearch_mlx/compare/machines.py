"""Compare the machines of a fleet in one session: say which change helps on which machine, and how much machines
differ.

Effects are compared, but never values.  A machine's effect is a difference from the incumbent's runs on that machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from autoresearch_mlx import terms
from autoresearch_mlx.compare.columns import UNKNOWN, Column, lines, number, signed, span, wrap
from autoresearch_mlx.experiment import Direction, Experiment, History, Status
from autoresearch_mlx.judge.across import Change, View, changes, effects_between, name_of, noise_on, views
from autoresearch_mlx.judge.combined import Between, Combined
from autoresearch_mlx.judge.evidence import ACROSS, Sigma
from autoresearch_mlx.judge.history import runs_of
from autoresearch_mlx.judge.machines import MachineEffect, interval_on, platform_of, spread_between, together

Where: TypeAlias = Literal[
    "gains on all", "loses on all", "on one chip alone", "differs", "within noise", "one machine"
]
DIFFERS = 0.1
"""Machines are said to differ if the probability of Cochran's Q is below this value."""
IN_WORDS = (
    "Where it holds. Gains on all, loses on all: the 90 % interval of the mean over the machines excludes 0, and every "
    "machine has the same sign. On one chip alone: the change wins there, and the other machines have no gain. "
    "Differs: machines with equal effects would lie so far apart in fewer than 1 of 10 cases. Within noise: none of "
    "these."
)
NOT_COMPARED = (
    "The values of two machines are not compared: each machine's effect is a difference from the incumbent's runs on "
    "that machine. An effect in sigma is the effect divided by the standard deviation of one run on the machine."
)


@dataclass(frozen=True, slots=True)
class MachineSide:
    """One machine's part of the session.  Values are means.  Gains are in the metric's unit, and a positive gain is
    better."""

    machine: str
    chip: str
    runs: int
    """Number of the machine's runs, including disturbed and failed runs."""
    baseline: float | None
    incumbent: float | None
    sigma: float | None
    gain: float | None
    low: float | None
    high: float | None
    """Gain of the incumbent over the baseline on this machine, with a 90 % interval, or None if one of the two has no
    run here."""


@dataclass(frozen=True, slots=True)
class Held:
    """A change that two or more machines have measured, with the effect on each machine and a verdict on where it
    holds."""

    number: int
    title: str
    axis: str | None
    status: Status
    effects: tuple[MachineEffect, ...]
    combined: Combined
    """Mean effect of the change over the machines, in sigma."""
    where: Where
    chip: str | None
    """The only kind of chip on which the change wins, or None if there is no single such kind."""

    @property
    def where_in_words(self) -> str:
        """Where the effect holds, in words; the text names the chip if the change wins on one kind of chip alone."""
        return f"on {self.chip} alone" if self.chip is not None else self.where


@dataclass(frozen=True, slots=True)
class Cell:
    """A change that one machine has measured, as one cell of a strip (the row of the machine's changes)."""

    number: int
    title: str
    status: Status
    sigmas: float | None
    """The change's effect on this machine, in sigma, or None if the change or the incumbent has no run with a value on
    this machine."""
    gain: float | None
    """The effect in the metric's unit."""


@dataclass(frozen=True, slots=True)
class Strip:
    """The changes that one machine has measured, oldest first."""

    machine: str
    chip: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Fleetwide:
    """The machines of one session side by side."""

    metric: str
    direction: Direction
    machines: tuple[MachineSide, ...]
    changes: tuple[Held, ...]
    strips: tuple[Strip, ...]
    """One strip for each machine, in the order of ``machines``."""
    elsewhere: tuple[int, ...]
    """Numbers of the changes that only one machine has measured."""
    spread: Between
    """How much effects differ between machines, in sigma, over all changes of the session."""


def fleetwide(history: History) -> Fleetwide | None:
    """Return the machines of a session side by side, or None if fewer than two machines of a fleet have made runs."""
    seen = views(history)
    if len(seen) < 2:
        return None
    noise = noise_on(seen)
    found = changes(seen, noise)
    spread = spread_between(change.effects for change in found)
    several = [change for change in found if len(change.effects) > 1]
    return Fleetwide(
        metric=history.metric,
        direction=history.direction,
        machines=tuple(_side(view, noise[view.machine][1], _head(seen, view, history)) for view in seen),
        changes=tuple(_held(change, spread) for change in several),
        strips=tuple(_strip(view, found) for view in seen),
        elsewhere=tuple(change.experiment.number for change in found if len(change.effects) == 1),
        spread=spread,
    )


def levelled(history: History) -> dict[int, float]:
    """Return {experiment's number: value}, with all values shifted to the first machine's level, for a common plot.

    The shift of a machine's values is the difference between its baseline and the first machine's baseline.  The result
    is empty if fewer than two machines have measured the baseline.
    """
    seen = views(history)
    levels = {view.machine: level for view in seen if (level := _mean(view, history.baseline)) is not None}
    if len(levels) < 2:
        return {}
    first = next(iter(levels.values()))
    found = {}
    for e in history.experiments:
        machine = name_of(e.measurements[0]) if e.measurements else None
        if e.value is not None and machine in levels:
            found[e.number] = e.value - levels[machine] + first
    return found


def _strip(view: View, found: Sequence[Change]) -> Strip:
    cells = []
    for change in found:
        e = change.experiment
        if any(name_of(m) == view.machine for m in e.measurements):
            effect = next((each for each in change.effects if each.machine == view.machine), None)
            size, gain = (None, None) if effect is None else (effect.sigmas, effect.gain)
            cells.append(Cell(e.number, terms.one_line(e.title), e.status, size, gain))
    return Strip(view.machine, view.chip, tuple(cells))


def _head(seen: Sequence[View], view: View, history: History) -> MachineEffect | None:
    first, best = history.baseline, history.incumbent
    if first is None or best is None or first.number == best.number:
        return None
    return next(iter(effects_between([view], noise_on([view]), best, first)), None)


def _side(view: View, sigma: Sigma, head: MachineEffect | None) -> MachineSide:
    low, high = (None, None) if head is None else interval_on(head)
    history = view.history
    every = [m for e in history.experiments for m in e.measurements] + [r.measurement for r in history.repeats]
    return MachineSide(
        machine=view.machine,
        chip=view.chip,
        runs=sum(name_of(m) == view.machine for m in every),
        baseline=_mean(view, history.baseline),
        incumbent=_mean(view, history.incumbent),
        sigma=sigma.value,
        gain=None if head is None else head.gain,
        low=low,
        high=high,
    )


def _mean(view: View, experiment: Experiment | None) -> float | None:
    """Return the mean of an experiment's undisturbed runs in their newest regime, or None without such runs."""
    if experiment is None:
        return None
    own = view.history.own or frozenset()
    runs = [run for run in runs_of(view.history, experiment) if run.regime in own and not run.tainted]
    newest = max((run.regime for run in runs), default=0)
    values = [run.value for run in runs if run.regime == newest]
    return sum(values) / len(values) if values else None


def _held(change: Change, spread: Between) -> Held:
    total, chip = together(change.effects, spread), platform_of(change.effects, spread, ACROSS.upper[-1])
    e = change.experiment
    return Held(e.number, e.title, e.axis, e.status, change.effects, total, _where(change.effects, total, chip), chip)


def _where(effects: Sequence[MachineEffect], total: Combined, chip: str | None) -> Where:
    if chip is not None:
        return "on one chip alone"
    gains = [each.gain > 0 for each in effects]
    if total.low > 0 and all(gains):
        return "gains on all"
    if total.high < 0 and not any(gains):
        return "loses on all"
    return "differs" if total.chance < DIFFERS else "within noise"


def to_json(found: Fleetwide) -> dict[str, Any]:
    """Return the object that ``--json`` prints; an unknown value is null."""
    return {
        "metric": found.metric,
        "direction": found.direction,
        "machines": [asdict(side) for side in found.machines],
        "changes": [_row(held) for held in found.changes],
        "strips": [asdict(strip) for strip in found.strips],
        "one_machine": list(found.elsewhere),
        "between": {
            "tau": found.spread.variance**0.5,
            "changes": found.spread.changes,
            "left_out": found.spread.left_out,
        },
    }


def _row(held: Held) -> dict[str, Any]:
    total = held.combined
    return {
        "number": held.number,
        "title": held.title,
        "axis": held.axis,
        "status": held.status,
        "where": held.where,
        "chip": held.chip,
        "effect": total.effect,
        "low": total.low,
        "high": total.high,
        "q": total.q,
        "chance": total.chance,
        "i_squared": total.i_squared,
        "effects": [
            {
                **asdict(each),
                "low": interval_on(each)[0],
                "high": interval_on(each)[1],
                "sigmas": each.sigmas,
            }
            for each in held.effects
        ],
    }


def render(found: Fleetwide, width: int) -> str:
    """Return the machines as text, in lines of at most ``width`` characters, or of about 60 if ``width`` is less."""
    names = ", ".join(side.machine for side in found.machines)
    parts = [
        wrap(
            f"{found.metric} on the machines of the fleet: {names}. Gain: the incumbent over the baseline there.", width
        ),
        lines(_summary(found.machines), width, grouped=False),
    ]
    if found.changes:
        parts += [wrap("Changes that several machines have measured. Gains in sigma, + is better.", width)]
        parts += [lines(_table(found), width, grouped=False)]
    parts += [wrap(text, width) for text in remarks(found)]
    return "\n\n".join(parts)


def remarks(found: Fleetwide) -> tuple[str, ...]:
    """Return the sentences below the table: how far the machines agree, and how to read the table."""
    said = [_agreement(found)]
    if found.elsewhere:
        one = len(found.elsewhere) == 1
        count = terms.plural(len(found.elsewhere), "change")
        said.append(f"{count} {'was' if one else 'were'} measured on one machine only, and decided there.")
    return (*said, *((IN_WORDS,) if found.changes else ()), NOT_COMPARED)


def _agreement(found: Fleetwide) -> str:
    if not found.changes:
        return "No change was measured on two machines yet."
    kept = [held for held in found.changes if held.status == "keep"]
    everywhere = sum(all(each.gain > 0 for each in held.effects) for held in kept)
    words = _variation(found.spread)
    if not kept:
        return f"{words} No change was kept yet."
    return (
        f"{words} Of {terms.plural(len(kept), 'kept change')}, {everywhere} gained on every machine that measured them."
    )


def _variation(spread: Between) -> str:
    counted = spread.changes - spread.left_out
    if not counted:
        return "In every change the machines differ so much that no common spread (tau) can be estimated."
    said = f"Between machines, the effect of a change varies by {spread.variance**0.5:.1f} sigma (tau, from "
    if not spread.left_out:
        return f"{said}{terms.plural(counted, 'change')})."
    apart = f"{spread.left_out} more {'has' if spread.left_out == 1 else 'have'} effects that lie much further apart"
    return f"{said}{terms.plural(counted, 'change')}; {apart})."


def _summary(sides: Sequence[MachineSide]) -> list[Column]:
    intervals = tuple(span(side.low, side.high) for side in sides)
    return [
        Column("", "machine", tuple(side.machine for side in sides), left=True, lead=0, cut=True),
        Column("", "chip", tuple(side.chip for side in sides), left=True, cut=True),
        Column("", "runs", tuple(str(side.runs) for side in sides)),
        Column("", "baseline", tuple(number(side.baseline) for side in sides), drop=1),
        Column("", "incumbent", tuple(number(side.incumbent) for side in sides), drop=1),
        Column("", "gain", tuple(signed(side.gain) for side in sides)),
        Column("", "90 % interval", intervals, drop=2),
        Column("", "sigma", tuple(number(side.sigma) for side in sides), drop=3),
    ]


def _table(found: Fleetwide) -> list[Column]:
    rows = found.changes
    return [
        Column("", "#", tuple(str(held.number) for held in rows), lead=0),
        Column("", "status", tuple(held.status for held in rows), left=True, drop=1),
        *(_on(side.machine, rows) for side in found.machines),
        Column("", "together", tuple(_together(held.combined) for held in rows)),
        Column("", "I2", tuple(f"{100 * held.combined.i_squared:.0f} %" for held in rows), drop=2),
        Column("", "where it holds", tuple(held.where_in_words for held in rows), left=True),
        Column("", "change", tuple(terms.one_line(held.title) for held in rows), left=True, drop=3, cut=True),
    ]


def _on(machine: str, rows: Sequence[Held]) -> Column:
    on = [next((each for each in held.effects if each.machine == machine), None) for held in rows]
    return Column("", machine, tuple(UNKNOWN if e is None else f"{e.sigmas:+.1f}" for e in on), cut=True)


def _together(total: Combined) -> str:
    return f"{total.effect:+.1f} +- {total.error:.1f}"
