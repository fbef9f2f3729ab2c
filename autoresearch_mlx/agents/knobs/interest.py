"""Estimate how much each knob matters before anything was tried in this session.

A short session has no time to find out that batch and depth matter most.  The weights are rough; they follow the sizes
of effects in published logs of this training script: the H100 session in ``data/cuda_baseline.tsv`` (batch 0.0119,
depth 0.0043, embedding rate 0.0033, the rest below 0.0012) and logs from Apple chips, where a smaller batch and fewer
layers gained most.  The weights only order the first tries, because the gains that this session measures soon outweigh
the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.space import Space
from autoresearch_mlx.lab.source import axis_of

_USUAL = 1.0
_INTEREST = {
    "batch": 3.0,
    "depth": 3.0,
    "width": 2.0,
    "lr.matrix": 2.0,
    "lr.embedding": 2.0,
    "schedule.warmdown": 1.5,
    "schedule.final": 1.5,
    "lr.unembedding": 1.5,
    "mlp": 1.5,
    "weight_decay.embedding": 0.7,
    "weight_decay.value": 0.7,
    "weight_decay.unembedding": 0.7,
    "muon.momentum": 0.7,
    "muon.beta2": 0.7,
    "muon.ns_steps": 0.5,
    "value_embedding": 0.5,
    # The number of passes into which a step is divided changes the memory and, a little, the speed, but not the result.
    "batch.device": 0.3,
}

_USUAL_WAY = {"batch": -1, "lr.matrix": -1, "lr.scalar": -1, "schedule.final": 1}
"""Axes on which one direction was kept more often than the other in the public records: -1 for smaller values, 1 for
larger.

In the comparable runs of ``data/cuda_baseline.tsv``, ``data/cuda_runs.tsv`` and ``data/apple_runs.tsv``, 24 of 35 steps
of that knob alone to a smaller batch were kept, and none of 3 to a larger batch; 14 of 26 steps to a lower rate of the
matrices, and 6 of 24 to a higher rate; 3 of 7 to a lower rate of the scalars, and none of 4 to a higher rate; 5 of 10
to a higher rate at the end of the schedule, and none of 3 to a lower rate.  Depth is not here, because its direction
depends on the machine: fewer layers gained on Apple chips, and one layer more on the H100."""


def interest(space: Space) -> NDArray[np.float64]:
    """Return one weight per knob, shape (knobs,); 1 for a knob whose axis is not in ``_INTEREST``."""
    return np.array([_INTEREST.get(axis_of(d.name), _USUAL) for d in space])


def goes_the_usual_way(axis: str, was: Any, now: Any) -> bool:
    """Return whether a number on this axis moves in the direction that was kept more often in the public records.

    Returns False for values that are not numbers.
    """
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (was, now)):
        return False
    way = _USUAL_WAY.get(axis, 0)
    return bool(now > was if way > 0 else way < 0 and now < was)
