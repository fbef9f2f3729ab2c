"""Compute the trust region: how far each knob may move from the incumbent, and how much each knob has gained so far.

A knob's width is the length of its longest usual step.  If a step is kept, the widths of the knobs that it moved grow;
otherwise they shrink.  This is the success rule of evolution strategies (Rechenberg 1973), which TuRBO also uses for
its trust regions (Eriksson et al. 2019, arXiv:1910.01739).  The widths are computed from the trials each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.memory import Trial
from autoresearch_mlx.agents.knobs.space import Point

FIRST = 0.15
"""The width at the start, as a share of the knob's range; in a logarithmic range from 1 to 100 it doubles the value."""
WIDEN, NARROW = 1.5, 0.85
SMALLEST, LARGEST = 0.04, 0.5
RECENT = 4
"""Number of newest trials that :func:`tiredness` looks at."""


def widths(trials: Sequence[Trial], size: int) -> NDArray[np.float64]:
    """Return how far each knob may move now, as a share of its range; shape (size,)."""
    found = np.full(size, FIRST)
    for trial in trials:
        moved = list(trial.moved)
        if moved:
            # A failed step of several knobs says less against each of these knobs than a failed step of one knob alone.
            found[moved] *= WIDEN if trial.kept else NARROW ** (1 / len(moved))
            found = np.clip(found, SMALLEST, LARGEST)
    return found


def gains(trials: Sequence[Trial], size: int) -> NDArray[np.float64]:
    """Return the sum of each knob's gains in kept steps, in the metric's unit; shape (size,).

    If a step moved several knobs, its gain is divided equally among these knobs.
    """
    found = np.zeros(size)
    for trial in trials:
        if trial.kept and trial.gain is not None and trial.moved:
            found[list(trial.moved)] += max(0.0, trial.gain) / len(trial.moved)
    return found


def weights(trials: Sequence[Trial], interest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much each knob is expected to matter, shape (knobs,), with mean 1.

    Before the scaling to mean 1, a knob's weight is a sum of two terms: its ``interest``, and its summed gains divided
    by the average gain of a kept step.
    """
    kept = [trial.gain for trial in trials if trial.kept and trial.gain is not None and trial.gain > 0]
    found = interest + gains(trials, len(interest)) / np.mean(kept) if kept else interest
    return np.asarray(found / found.mean())


def tiredness(trials: Sequence[Trial], size: int) -> NDArray[np.float64]:
    """Return how many of the last RECENT trials moved each knob without a keep; shape (size,).

    A trial that moved n knobs counts 1/n for each knob.  Without this count, one lucky run would make a knob look
    promising, and all of the next runs would move this knob.
    """
    found = np.zeros(size)
    for trial in trials[-RECENT:]:
        if not trial.kept and trial.moved:
            found[list(trial.moved)] += 1 / len(trial.moved)
    return found


def from_the_closest(trials: Sequence[Trial], sigma: float) -> tuple[Trial, ...]:
    """Return each trial as a step from the closest earlier point: the one that differs from the trial in fewest knobs.

    The search may go on from a point that was not kept.  Then the next trial differs from this point in few knobs, and
    from the incumbent in many, but the ledger only has the difference from the incumbent.  The incumbent is one of the
    earlier points.  If several earlier points are equally close, the best of these points is used.  A trial counts as
    kept in two cases: its gain over the closest point is more than ``sigma``, in the metric's unit; or its gain is
    positive and the loop kept the trial.
    """
    scored = [(i, t.point, t.score) for i, t in enumerate(trials) if t.score is not None]
    codes = _codes([t.point for t in trials])
    scores = np.array([score for _, _, score in scored])
    at = np.array([i for i, _, _ in scored], dtype=int)
    found = []
    for i, trial in enumerate(trials):
        earlier = int(np.searchsorted(at, i))
        different = (codes[at[:earlier]] != codes[i]).sum(axis=1)
        different = np.where(different > 0, different, len(trial.point) + 1)
        order = np.lexsort((-scores[:earlier], different))
        if not len(order) or different[order[0]] >= len(trial.moved):
            found.append(trial)
            continue
        _, point, score = scored[order[0]]
        gain = None if trial.score is None else trial.score - score
        kept = gain is not None and (gain > sigma or (trial.kept and gain > 0))
        found.append(replace(trial, origin=point, gain=gain, kept=kept))
    return tuple(found)


def _codes(points: Sequence[Point]) -> NDArray[np.intp]:
    """Return each value as a number, shape (points, knobs); equal values of a knob get equal numbers."""
    columns = [
        {value: code for code, value in enumerate(dict.fromkeys(column))} for column in zip(*points, strict=True)
    ]
    return np.array(
        [[codes[value] for codes, value in zip(columns, point, strict=True)] for point in points], dtype=np.intp
    )
