"""Without a language model, propose small steps from the best known point, based on the results of all past runs."""

from __future__ import annotations

from itertools import islice

import numpy as np

from autoresearch_mlx import terms
from autoresearch_mlx.agents.knobs.fresh_moves import fresh_moves
from autoresearch_mlx.agents.knobs.memory import first_values, remember
from autoresearch_mlx.agents.knobs.moves import Move, point_of
from autoresearch_mlx.agents.knobs.naming import MoveName, name_of
from autoresearch_mlx.agents.knobs.outlook import Outlook, look
from autoresearch_mlx.agents.knobs.space import Space, read_space
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Context, Proposal
from autoresearch_mlx.lab.source import describe, literal


class Knobs:
    """An agent that changes one or several knobs; a proposal depends only on the context and the seed.

    The agent stores nothing between proposals.  Each proposal computes the trust region, the models and the set of
    tried points anew from ``context.history``, so a resumed session continues as if it had never stopped.
    """

    name = "knobs"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def propose(self, context: Context) -> Proposal:
        """Return the most promising move that has not been tried yet.

        Each refusal in ``context.feedback`` skips one more move.  Raises AgentError when no file has a knob that may
        move, or every combination was tried.
        """
        space = read_space(context.files, first_values(context.history))
        if not len(space):
            raise AgentError(
                "no knob to move in the editable files",
                "name an agent that writes code, such as --agent ollama:MODEL or --agent claude (docs/agents.md), "
                "or write constants as ALL_CAPS = literal at the top level",
            )
        memory = remember(space, context.history, context.running)
        outlook = look(space, memory, context.sigma)
        fresh = fresh_moves(outlook, memory, self._rng(context))
        move = next(islice(fresh, len(context.feedback), None), None)
        if move is None:
            raise AgentError(
                f"every combination of {len(space)} knobs within their ranges was tried",
                "widen the ranges in the '# knob:' comments, or choose another agent",
            )
        return _proposal(outlook, move, context, space)

    def _rng(self, context: Context) -> np.random.Generator:
        return np.random.default_rng([abs(self._seed), abs(context.seed), context.number])


def _proposal(outlook: Outlook, move: Move, context: Context, space: Space) -> Proposal:
    point = point_of(outlook.space, move)
    name = name_of(outlook, move, space)
    return Proposal(
        title=name.title,
        files=space.write(point, context.files),
        axis=name.axis,
        rationale=_rationale(outlook, move, name),
        agent=Knobs.name,
    )


def _rationale(outlook: Outlook, move: Move, name: MoveName) -> str:
    gain, deviation, failing = outlook.expect(move)
    knobs = ", ".join(
        f"{outlook.space.dimensions[step.index].name} may move {outlook.widths[step.index]:.0%} of its range"
        f" and has gained {literal(float(f'{outlook.gains[step.index]:.2g}'))} so far"
        for step in move
    )
    begins = (
        f" The step starts from experiment {name.number}, the measured point that is expected to be best:"
        f" {describe(name.start)}."
        if name.start
        else ""
    )
    hope = f"Expected gain {terms.estimate(gain, deviation)}"
    expected = hope if outlook.surrogate.informed else "No step measured yet"
    return f"{knobs}.{begins} {expected}, chance of failing {failing:.0%}."
