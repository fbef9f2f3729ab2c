"""``knobs``: the default agent, with no language model.

ranges -> space         which constants may move, and where each stands in its range
memory                  the ledger in those coordinates
region                  how far each knob may move, what each has gained
surrogate, failures     what a step is expected to gain, how likely it is to fail
moves -> agent          steps of one to three knobs, ranked; the best one not tried yet
"""

from autoresearch_mlx.agents.knobs.knobs_agent import Knobs

__all__ = ["Knobs"]
