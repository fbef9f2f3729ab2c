"""The trust region: how far each knob may move from the incumbent, and what each has gained so far.

One width per knob, as in success-rule step control (Rechenberg 1973) and the trust regions of TuRBO
(arXiv:1910.01739): a kept step widens the width of the knobs it moved, any other narrows it.  The
widths are not state: they are computed again from the trials each time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.memory import Trial

FIRST = 0.15
"""The first width, as a share of the knob's range: a factor of two on two decades."""
WIDEN, NARROW = 1.5, 0.8
SMALLEST, LARGEST = 0.04, 0.5
RECENT = 4


def widths(trials: Sequence[Trial], size: int) -> NDArray[np.float64]:
    """How far each knob may move now, as a share of its range."""
    found = np.full(size, FIRST)
    for trial in trials:
        moved = list(trial.moved)
        if moved:
            # A step of several knobs that fails says less against each of them.
            found[moved] *= WIDEN if trial.kept else NARROW ** (1 / len(moved))
            found = np.clip(found, SMALLEST, LARGEST)
    return found


def gains(trials: Sequence[Trial], size: int) -> NDArray[np.float64]:
    """What the kept steps of each knob gained together, in the metric's unit; shared within a step."""
    found = np.zeros(size)
    for trial in trials:
        if trial.kept and trial.gain is not None and trial.moved:
            found[list(trial.moved)] += max(0.0, trial.gain) / len(trial.moved)
    return found


def weights(trials: Sequence[Trial], interest: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of the variation each knob is expected to make; the mean is 1.

    Every knob counts its interest, and once more for every average kept step that it gained.
    """
    kept = [trial.gain for trial in trials if trial.kept and trial.gain is not None and trial.gain > 0]
    found = interest + gains(trials, len(interest)) / np.mean(kept) if kept else interest
    return np.asarray(found / found.mean())


def tiredness(trials: Sequence[Trial], size: int) -> NDArray[np.float64]:
    """How many of the last RECENT trials moved each knob for nothing.

    One lucky run makes a knob look promising, and the next runs would all go to it.
    """
    found = np.zeros(size)
    for trial in trials[-RECENT:]:
        if not trial.kept and trial.moved:
            found[list(trial.moved)] += 1 / len(trial.moved)
    return found
