"""Find near misses: discarded changes whose effect cannot be told from zero.

Two near misses on different axes may gain together, even if each change alone shows no gain.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import combinations
from typing import Any, TypeAlias

from autoresearch_mlx.agents.ideas.axis_names import axes_touched, axis_tried
from autoresearch_mlx.agents.prompt.results import margin_told
from autoresearch_mlx.experiment import Context, Experiment, History
from autoresearch_mlx.lab.source import read_knobs

Pair: TypeAlias = tuple[Experiment, Experiment]

NEWEST = 24
"""Number of near misses, newest first, from which pairs are made."""
BEST = 8
"""Number of pairs, largest joint gain first, from which one pair is drawn."""


def resolution(context: Context) -> float | None:
    """Return the smallest difference that is more than noise; None if the noise is not known.

    The result is the sigma of one measurement, or, if sigma is unknown, the gain that the judge requires for a keep.
    """
    if context.sigma:
        return context.sigma
    text = margin_told(context.history)
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def near_misses(context: Context) -> tuple[Experiment, ...]:
    """Return the discarded experiments whose effect is smaller than :func:`resolution`.

    Experiments whose change is in the present files are left out.
    """
    unit = resolution(context)
    if unit is None:
        return ()
    now = {name: knob.value for text in context.files.values() for name, knob in read_knobs(text).items()}
    return tuple(
        e
        for e in context.history.experiments
        if e.status == "discard" and e.gain is not None and abs(e.gain) <= unit and axis_tried(e) and not _has(now, e)
    )


def choose_pair(context: Context, dice: random.Random) -> Pair | None:
    """Draw two near misses on different axes that no experiment has combined; None when there is no such pair."""
    misses = near_misses(context)[-NEWEST:]
    pairs = [pair for pair in combinations(misses, 2) if _combinable(*pair, context.history)]
    best = sorted(pairs, key=lambda pair: -sum(e.gain or 0.0 for e in pair))[:BEST]
    return dice.choice(best) if best else None


def _combinable(one: Experiment, other: Experiment, history: History) -> bool:
    if axes_touched(one) & axes_touched(other) or set(one.knobs) & set(other.knobs):
        return False
    pair = {one.number, other.number}
    return not any(pair <= _told(e) or (_changed(e, one) and _changed(e, other)) for e in history.experiments)


def _told(experiment: Experiment) -> set[Any]:
    """Return the numbers of the experiments that ``experiment`` was asked to combine."""
    talk = experiment.talk
    return set(talk.get("experiments") or ()) if talk.get("task") == "combine" else set()


def _changed(e: Experiment, part: Experiment) -> bool:
    """Return whether experiment ``e`` set all knobs that ``part`` changed to the same values as ``part``."""
    return _has({name: now for name, (_, now) in e.knobs.items()}, part)


def _has(values: Mapping[str, Any], part: Experiment) -> bool:
    wanted = part.knobs.items()
    return bool(wanted) and all(name in values and _plain(values[name]) == _plain(now) for name, (_, now) in wanted)


def _plain(value: Any) -> Any:
    """Return a tuple as a list, because the ledger stores a knob's tuple as a list."""
    return list(value) if isinstance(value, tuple) else value
