"""Find near misses: discarded changes whose effect is too small to tell from zero.

Two near misses on different axes may win together although neither shows a gain alone.
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
    """Return the smallest difference that is not just noise: sigma of one measurement or, while sigma is unknown, the
    judge's margin."""
    if context.sigma:
        return context.sigma
    text = margin_told(context.history)
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def near_misses(context: Context) -> tuple[Experiment, ...]:
    """Return the discarded experiments whose effect is smaller than the resolution and whose change is not in the
    files."""
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
    """Draw a pair of near misses on different axes that were never combined; None when there is no such pair."""
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
    """Return the numbers of the experiments that this experiment was asked to combine."""
    talk = experiment.talk
    return set(talk.get("experiments") or ()) if talk.get("task") == "combine" else set()


def _changed(e: Experiment, part: Experiment) -> bool:
    """Return whether experiment ``e`` set the knobs of ``part`` to the values of ``part``."""
    return _has({name: now for name, (_, now) in e.knobs.items()}, part)


def _has(values: Mapping[str, Any], part: Experiment) -> bool:
    wanted = part.knobs.items()
    return bool(wanted) and all(name in values and _plain(values[name]) == _plain(now) for name, (_, now) in wanted)


def _plain(value: Any) -> Any:
    """Turn tuples into lists, because a knob's value that is a tuple in the file is a list in the ledger."""
    return list(value) if isinstance(value, tuple) else value
