"""Estimate how much each knob matters before any knob was moved in this session.

A short session has no time to find out that batch and depth matter most.  The weights here follow roughly the sizes of
effects in published logs of this training script.  In the H100 session (``data/cuda_baseline.tsv``), the effects were
0.0119 for the batch, 0.0043 for depth, 0.0033 for the embedding rate, and below 0.0012 for other knobs.  On Apple
chips, a smaller batch and fewer layers gained most.  The weights only order the first tries: the gains that this
session measures soon outweigh the weights.
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
    # A step is divided into passes.  Their number changes the memory and, a little, the speed, but not the result.
    "batch.device": 0.3,
}

_USUAL_WAY = {"batch": -1, "lr.matrix": -1, "lr.scalar": -1, "schedule.final": 1}
"""Axes on which the public records kept steps in one direction more often: -1 for smaller values, 1 for larger values.

The records are the comparable runs of ``data/cuda_baseline.tsv``, ``data/cuda_runs.tsv`` and ``data/apple_runs.tsv``.
Only steps of one knob alone count.  Kept steps of the batch: 24 of 35 to a smaller batch, 0 of 3 to a larger batch.
Kept steps of the matrices' rate: 14 of 26 down, 6 of 24 up.  Kept steps of the scalars' rate: 3 of 7 down, 0 of 4 up.
Kept steps of the rate at the end of the schedule: 5 of 10 up, 0 of 3 down.  Depth is not listed, because its best
direction depends on the machine: fewer layers gained on Apple chips, and one more layer gained on the H100."""


def interest(space: Space) -> NDArray[np.float64]:
    """Return a weight for each knob, shape (knobs,); a knob whose axis is not in ``_INTEREST`` has the weight 1."""
    return np.array([_INTEREST.get(axis_of(d.name), _USUAL) for d in space])


def goes_the_usual_way(axis: str, was: Any, now: Any) -> bool:
    """Return whether the change from ``was`` to ``now`` has the direction that the public records kept more often.

    Returns False if a value is not a number, or if the axis is not in ``_USUAL_WAY``.
    """
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (was, now)):
        return False
    way = _USUAL_WAY.get(axis, 0)
    return bool(now > was if way > 0 else way < 0 and now < was)
