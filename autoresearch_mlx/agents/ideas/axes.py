"""Wins and losses by axis, and the axis to try next.

Thompson sampling: each axis draws from Beta(1 + wins, 1 + losses), the highest draw is tried.  Old tries
fade; an axis that lost four times running rests for a while, never for good; a tenth of all choices is
made evenly, so that no axis is forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoresearch_mlx.agents.ideas.axis_names import axes_touched, axis_tried, clean_axis
from autoresearch_mlx.compare.log import METRIC
from autoresearch_mlx.compare.reference import h100
from autoresearch_mlx.experiment import Context, Experiment, History
from autoresearch_mlx.lab.source import axis_of, read_knobs

if TYPE_CHECKING:
    from autoresearch_mlx.agents.ideas.backlog import Idea


from itertools import combinations

_TOGETHER = (
    # Noise of the gradient: more tokens a step bear a larger rate, and mean fewer steps.
    ("batch", "lr", "schedule", "adam", "muon"),
    # Size: the best rate and the initial scale depend on it, and depth pays for width within a time budget.
    ("depth", "width", "mlp", "lr", "init"),
    # One block of attention: heads share the width; what is seen and how positions are told go together.
    ("width", "attention", "rope"),
    # Decay acts in proportion to the rate, and all along the schedule.
    ("weight_decay", "lr", "schedule"),
    # What flows along the residual stream.
    ("depth", "residual", "value_embedding"),
    # The scale of the logits.
    ("softcap", "lr", "init"),
)
_PAIRS = frozenset(frozenset(pair) for group in _TOGETHER for pair in combinations(group, 2))


def coupled(one: str, other: str) -> bool:
    """Whether a new incumbent on one axis puts what is known of the other in doubt; symmetric."""
    if one == other:
        return True
    first, second = one.split(".")[0], other.split(".")[0]
    if first == second:
        return first != "knob"  # constants that nothing is known of
    return frozenset((first, second)) in _PAIRS


DECAY = 0.98
"""What a try still counts one experiment later."""
FLOOR = 0.1
"""Share of choices made evenly among all axes that are not banned."""
STREAK = 4
"""Losses in a row that ban an axis ..."""
BAN = 25
"""... for so many experiments after the last of them."""
_COUNTS = frozenset({"keep", "discard", "crash", "timeout", "invalid"})
"""A duplicate was not run, an interrupted one not finished: they say nothing of the axis."""


@dataclass(frozen=True, slots=True)
class Record:
    """One axis in this session.  ``wins``, ``losses`` and ``failures`` are decayed counts."""

    axis: str
    tries: int
    wins: float
    losses: float
    failures: float
    mean_gain: float | None
    """Decayed mean over the tries that were measured, in the metric's unit; positive is better."""
    last: int
    """Number of the last try."""
    banned_until: int | None
    """Number of the last experiment that leaves it alone; the ban may be over already."""


def records(history: History) -> dict[str, Record]:
    """A record for each axis that was really tried, in the order of the first try."""
    tries: dict[str, list[Experiment]] = {}
    for e in history.experiments:
        if e.number > 0 and e.status in _COUNTS and (axis := axis_tried(e)) is not None:
            tries.setdefault(axis, []).append(e)
    return {axis: _record(axis, found, history) for axis, found in tries.items()}


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
    """A new incumbent on a coupled axis ends a ban, and what was lost before it counts no more."""
    kept = (e for e in history.experiments if e.status == "keep" and e.number > 0)
    turns = [e.number for e in kept if any(coupled(axis, other) for other in axes_touched(e))]
    since = max(turns, default=0)
    recent = [e for e in tries if e.number > since][-STREAK:]
    return recent[-1].number + BAN if len(recent) == STREAK else None


def banned(history: History, number: int) -> frozenset[str]:
    """The axes that experiment ``number`` leaves alone."""
    return _resting(records(history), number)


def _resting(seen: Mapping[str, Record], number: int) -> frozenset[str]:
    return frozenset(r.axis for r in seen.values() if r.banned_until is not None and number <= r.banned_until)


def choose_axis(known: Sequence[str], history: History, seed: int, number: int) -> str | None:
    """The axis for experiment ``number``: the same again for the same arguments; None without any known.

    Each of the n axes that are not banned has a chance of at least FLOOR / n.  When all are banned, none is.
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
    """Of the files' knobs, the history, the ideas and the H100's table (where the metric is its own), in that order.

    Raises LabError when the installation lacks the table, TableError when that is malformed.
    """
    knobs = (axis_of(name) for text in context.files.values() for name in read_knobs(text))
    tried = (axis_tried(e) for e in context.history.experiments)
    table = (run.axis for run in h100().runs) if context.history.metric == METRIC else ()
    named = [*knobs, *tried, *(idea.axis for idea in ideas), *table]
    return tuple(dict.fromkeys(axis for axis in map(clean_axis, named) if axis is not None))


def knobs_of(axis: str, files: Mapping[str, str]) -> dict[str, object]:
    """The constants of the files that belong to an axis, with their values."""
    knobs = (knob for text in files.values() for knob in read_knobs(text).values())
    return {knob.name: knob.value for knob in knobs if axis_of(knob.name) == axis}
