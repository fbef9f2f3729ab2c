"""Count wins and losses by axis, and choose the axis to try next.

The choice is Thompson sampling: each axis draws from Beta(1 + wins, 1 + losses), and the axis with the highest draw is
tried.  Older tries count less.  An axis that lost four times in a row is banned for a while, but never for good.  A
tenth of all choices is uniformly random, so that each axis is tried sometimes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from autoresearch_mlx.agents.ideas.axis_names import axes_touched, axis_tried, clean_axis
from autoresearch_mlx.agents.ideas.idea import Idea
from autoresearch_mlx.compare.log import METRIC
from autoresearch_mlx.compare.reference import h100
from autoresearch_mlx.experiment import Context, Experiment, History
from autoresearch_mlx.lab.source import axis_of, read_knobs

_TOGETHER = (
    # Axes that act on the gradient's noise: more tokens per step allow a larger rate, but leave fewer steps.
    ("batch", "lr", "schedule", "adam", "muon"),
    # Axes that change the model's size, and axes whose best value depends on the size: the rate and the initial scale.
    ("depth", "width", "mlp", "lr", "init"),
    # Axes of the attention: heads share the width; the window and the encoding of positions belong together.
    ("width", "attention", "rope"),
    # Weight decay acts in proportion to the learning rate, over the whole schedule.
    ("weight_decay", "lr", "schedule"),
    # Axes that set the contributions to the residual stream.
    ("depth", "residual", "value_embedding"),
    # Axes that set the scale of the logits.
    ("softcap", "lr", "init"),
)
_PAIRS = frozenset(frozenset(pair) for group in _TOGETHER for pair in combinations(group, 2))
DECAY = 0.98
"""Each later experiment multiplies the weight of a try by this factor."""
FLOOR = 0.1
"""Share of choices that are uniformly random among all axes that are not banned."""
STREAK = 4
"""Number of losses in a row after which an axis is banned."""
BAN = 25
"""Number of experiments that a ban lasts, counted from the last loss."""
_COUNTS = frozenset({"keep", "discard", "crash", "timeout", "invalid"})
"""Statuses of experiments that count as tries of their axis, if something ran.  A duplicate was not run, and an
interrupted experiment was not finished, so neither of them counts."""


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one axis in this session.

    ``wins``, ``losses`` and ``failures`` are sums of weights; older tries weigh less.
    """

    axis: str
    tries: int
    wins: float
    losses: float
    failures: float
    mean_gain: float | None
    """Weighted mean gain of the tries that were measured, in the metric's unit; positive is better."""
    last: int
    """Number of the experiment that last tried this axis."""
    banned_until: int | None
    """Number of the last experiment under the newest ban; None if there was no ban.  The ban may be over."""


def records(history: History) -> dict[str, Record]:
    """Return a record for each axis that was tried, in the order of the first tries."""
    tries: dict[str, list[Experiment]] = {}
    for e in history.experiments:
        if e.number > 0 and was_tried(e) and (axis := axis_tried(e)) is not None:
            tries.setdefault(axis, []).append(e)
    return {axis: _record(axis, found, history) for axis, found in tries.items()}


def was_tried(experiment: Experiment) -> bool:
    """Return whether an experiment tried its axis; an answer without a usable edit tried nothing."""
    ran = bool(experiment.measurements) or experiment.value is not None
    return experiment.status in _COUNTS and (experiment.status != "invalid" or ran)


def _record(axis: str, tries: Sequence[Experiment], history: History) -> Record:
    newest = max(e.number for e in history.experiments)
    weights = [DECAY ** (newest - e.number) for e in tries]
    measured = [(w, e.gain) for w, e in zip(weights, tries, strict=True) if e.gain is not None]
    total = sum(w for w, _ in measured)
    return Record(
        axis=axis,
        tries=len(tries),
        wins=_sum(weights, (e.status == "keep" for e in tries)),
        losses=_sum(weights, (e.status == "discard" for e in tries)),
        failures=_sum(weights, (e.failed for e in tries)),
        mean_gain=sum(w * gain for w, gain in measured) / total if total else None,
        last=tries[-1].number,
        banned_until=_banned_until(axis, tries, history),
    )


def _sum(weights: Sequence[float], counted: Iterable[bool]) -> float:
    return sum(weight for weight, counts in zip(weights, counted, strict=True) if counts)


def _banned_until(axis: str, tries: Sequence[Experiment], history: History) -> int | None:
    """Return the number of the last experiment under a ban; None if there is no ban.

    Losses before a keep on a coupled axis do not count, so this keep also ends a ban.
    """
    kept = (e for e in history.experiments if e.status == "keep" and e.number > 0)
    turns = [e.number for e in kept if any(coupled(axis, other) for other in axes_touched(e))]
    since = max(turns, default=0)
    recent = [e for e in tries if e.number > since][-STREAK:]
    return recent[-1].number + BAN if len(recent) == STREAK else None


def banned(history: History, number: int) -> frozenset[str]:
    """Return the axes that are banned for experiment ``number``."""
    return _resting(records(history), number)


def _resting(seen: Mapping[str, Record], number: int) -> frozenset[str]:
    return frozenset(r.axis for r in seen.values() if r.banned_until is not None and number <= r.banned_until)


def choose_axis(known: Sequence[str], history: History, seed: int, number: int) -> str | None:
    """Return the axis for experiment ``number``; None if no axis is known.  Equal arguments give equal answers.

    If n axes are not banned, each of these has a chance of at least FLOOR / n.  If all axes are banned, bans are
    ignored.
    """
    seen = records(history)
    resting = _resting(seen, number)
    free = sorted({a for a in known if a not in resting} or set(known))
    if not free:
        return None
    dice = random.Random(f"axis {seed} {number}")
    if dice.random() < FLOOR:
        return dice.choice(free)
    return max(free, key=lambda axis: _draw(seen.get(axis), random.Random(f"axis {seed} {number} {axis}")))


def _draw(record: Record | None, dice: random.Random) -> float:
    if record is None:
        return dice.betavariate(1, 1)
    return dice.betavariate(1 + record.wins, 1 + record.losses + record.failures)


def known_axes(context: Context, ideas: Sequence[Idea] = ()) -> tuple[str, ...]:
    """Return the axes of the files' knobs, of the history, of the ideas, and of the H100's table.

    The table is left out if its metric is not the session's metric.  Raises LabError when the installation lacks the
    table, and TableError when the table is malformed.
    """
    knobs = (axis_of(name) for text in context.files.values() for name in read_knobs(text))
    tried = (axis_tried(e) for e in context.history.experiments if was_tried(e))
    table = (run.axis for run in h100().runs) if context.history.metric == METRIC else ()
    named = [*knobs, *tried, *(idea.axis for idea in ideas), *table]
    return tuple(dict.fromkeys(axis for axis in map(clean_axis, named) if axis is not None))


def knobs_of(axis: str, files: Mapping[str, str]) -> dict[str, object]:
    """Return the constants of the files that belong to an axis, with their values."""
    knobs = (knob for text in files.values() for knob in read_knobs(text).values())
    return {knob.name: knob.value for knob in knobs if axis_of(knob.name) == axis}


def coupled(one: str, other: str) -> bool:
    """Return whether two axes belong together: a keep on one axis makes earlier results on the other axis doubtful."""
    if one == other:
        return True
    first, second = one.split(".")[0], other.split(".")[0]
    if first == second:
        return first != "knob"  # nothing is known about constants with an axis ``knob.*``
    return frozenset((first, second)) in _PAIRS
