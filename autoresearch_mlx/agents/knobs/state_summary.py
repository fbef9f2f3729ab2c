"""Describe in a dozen lines what the optimiser knows, for the language model that shares the search with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoresearch_mlx import terms
from autoresearch_mlx.agents.knobs.coordinates import Array
from autoresearch_mlx.agents.knobs.interest import interest
from autoresearch_mlx.agents.knobs.memory import Memory, Trial, first_values, remember
from autoresearch_mlx.agents.knobs.moves import Move, point_of, single_moves
from autoresearch_mlx.agents.knobs.outlook import Outlook, look
from autoresearch_mlx.agents.knobs.region import FIRST
from autoresearch_mlx.agents.knobs.space import Point, Space, read_space
from autoresearch_mlx.experiment import Context
from autoresearch_mlx.lab.source import describe, literal

BEST = 3
"""Number of measured points to show."""
NEXT = 3
"""Number of planned steps to show."""
MOST = 6
"""Number of knobs to name in one line."""
_NARROWED = 0.75 * FIRST


def describe_state(context: Context) -> str:
    """Describe the best points, the knobs by what they gained, the failures, and the next steps.

    The text is empty when the files have no movable knob, or no knob has been moved yet.  Each call fits the
    optimiser's models once.
    """
    space = read_space(context.files, first_values(context.history))
    memory = remember(space, context.history, context.running)
    if not any(trial.moved for trial in memory.trials):
        return ""
    outlook = look(space, memory, context.sigma)
    lines = [
        *_best(space, memory),
        _line("Knobs that gained", _gained(outlook, memory)),
        _line("Expected to matter most (1 is an average knob)", _weighty(outlook)),
        _line("Moved lately for nothing", _named(space, outlook.tired)),
        _line("Narrowed down, only small steps left", _narrow(outlook)),
        _line("Never moved yet", _untouched(space, memory)),
        _line("Failed", _failed(space, memory)),
        _line("It will try these next by itself", _candidates(outlook, space, context)),
    ]
    return "\n".join(line for line in lines if line)


def _line(name: str, items: Sequence[str]) -> str:
    more = f", and {len(items) - MOST} more" if len(items) > MOST else ""
    return f"{name}: {', '.join(items[:MOST])}{more}." if items else ""


def _best(space: Space, memory: Memory) -> list[str]:
    """Describe the points with the highest scores by their differences from the files.

    Points with equal scores are in the order of their experiments.
    """
    scores: dict[Point, float] = {}
    for trial in memory.trials:
        if trial.score is not None:
            scores.setdefault(trial.point, trial.score)
    best = sorted(scores, key=lambda point: -scores[point])[:BEST]
    head = "Best settings measured (gain over the baseline, then how they differ from the file):"
    return [head, *(f"  {terms.gain(scores[point])}  {_differs(space, point)}" for point in best)] if best else []


def _differs(space: Space, point: Point) -> str:
    changes = space.changes(point)
    shown = dict(list(changes.items())[:MOST])
    more = f" and {len(changes) - MOST} more" if len(changes) > MOST else ""
    return f"{describe(shown)}{more}" if changes else "the file as it is"


def _gained(outlook: Outlook, memory: Memory) -> list[str]:
    order = [i for i in np.argsort(-outlook.gains, kind="stable") if outlook.gains[i] > 0]
    return [
        f"{outlook.space.dimensions[i].name} {terms.gain(float(outlook.gains[i]))} {_tally(memory, i)}" for i in order
    ]


def _tally(memory: Memory, index: int) -> str:
    moved = [trial for trial in memory.trials if index in trial.moved]
    return f"({sum(trial.kept for trial in moved)} of {len(moved)} kept)"


def _weighty(outlook: Outlook) -> list[str]:
    """List the weights of the weightiest knobs; the list is empty if the results have not changed the weights."""
    guess = interest(outlook.space)
    if np.allclose(outlook.weights, guess / guess.mean()):
        return []
    order = np.argsort(-outlook.weights, kind="stable")[:MOST]
    return [f"{outlook.space.dimensions[i].name} {outlook.weights[i]:.1f}" for i in order]


def _named(space: Space, sizes: Array) -> list[str]:
    return [space.dimensions[i].name for i in np.argsort(-sizes, kind="stable") if sizes[i] > 0]


def _narrow(outlook: Outlook) -> list[str]:
    order = np.argsort(outlook.widths, kind="stable")
    return [
        f"{outlook.space.dimensions[i].name} ({outlook.widths[i]:.0%} of its range)"
        for i in order
        if outlook.widths[i] < _NARROWED
    ]


def _untouched(space: Space, memory: Memory) -> list[str]:
    moved = {i for trial in memory.trials for i in trial.moved}
    return [d.name for i, d in enumerate(space) if i not in moved]


def _failed(space: Space, memory: Memory) -> list[str]:
    """List the failed steps with the old and new values of their knobs, newest first."""
    return [_step(space, trial) for trial in reversed(memory.trials) if trial.failed and trial.moved]


def _step(space: Space, trial: Trial) -> str:
    steps = {space.dimensions[i].name: (trial.origin[i], trial.point[i]) for i in trial.moved}
    return " with ".join(f"{name} {literal(was)} -> {literal(now)}" for name, (was, now) in steps.items())


def _candidates(outlook: Outlook, space: Space, context: Context) -> list[str]:
    """List the steps of single knobs that the surrogate ranks highest, at most one for each knob."""
    if not outlook.surrogate.informed:
        return []
    rng = np.random.default_rng([abs(context.seed), context.number])
    moves = single_moves(outlook.space, outlook.widths, rng)
    if not moves:
        return []
    first: dict[int, Move] = {}
    for move in (moves[i] for i in np.argsort(-outlook.rank(moves), kind="stable")):
        first.setdefault(move[0].index, move)
        if len(first) == NEXT:
            break
    return [_candidate(outlook, space, move) for move in first.values()]


def _candidate(outlook: Outlook, space: Space, move: Move) -> str:
    gain, deviation, failing = outlook.expect(move)
    risk = f", {failing:.0%} likely to fail" if failing >= 0.25 else ""
    changes = space.changes(point_of(outlook.space, move))
    steps = " with ".join(f"{name} {literal(was)} -> {literal(now)}" for name, (was, now) in changes.items())
    return f"{steps} (expected gain {terms.estimate(gain, deviation)}{risk})"
