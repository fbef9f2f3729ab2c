"""How much a knob is expected to matter before anything was tried here.

A short run cannot afford to learn from nothing that batch and depth come first.  The figures are
rough, by the size of the effects in published logs of this training script: the H100 session in
``data/cuda_baseline.tsv`` (batch 0.0119, depth 0.0043, embedding rate 0.0033, the rest below 0.0012)
and the logs from Apple chips, where a smaller batch and fewer layers gained most.  They only order
the first tries: what a knob gains here soon outweighs them.
"""

from __future__ import annotations

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
    # How a step is cut into passes: memory and a little speed, never the result of a step.
    "batch.device": 0.3,
}


def interest(space: Space) -> NDArray[np.float64]:
    """One figure per knob; 1 for a knob that the table does not know, as in any other program."""
    return np.array([_INTEREST.get(axis_of(d.name), _USUAL) for d in space])
