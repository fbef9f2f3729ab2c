"""Choose the model's task for this experiment.

The user's ideas come first.  If the user has no open idea, the choice is random.  The choice depends only on the seed
and the experiment's number, so a preview of the prompt is exactly the prompt that is sent later.  After a long time
without a keep, the tasks are bolder.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from autoresearch_mlx.agents.ideas import task_texts
from autoresearch_mlx.agents.ideas.axes import banned, choose_axis, records, was_tried
from autoresearch_mlx.agents.ideas.axis_names import axes_touched, axis_tried
from autoresearch_mlx.agents.ideas.idea import YOU, Idea
from autoresearch_mlx.agents.ideas.misses import choose_pair
from autoresearch_mlx.experiment import Context, Experiment, History

Kind: TypeAlias = Literal["axis", "idea", "combine", "simplify", "leap", "repair", "choice"]

PUSH = 12
"""Number of experiments without a keep after which the model is asked for a different kind of change."""
LEAP = 20
"""Number of experiments without a keep after which the model starts from older versions."""
ISLAND = 8
"""Number of experiments that start from older versions, after ``LEAP`` experiments without a keep.  Then the same
number of experiments start from the incumbent, and so on in turns."""
SHARES = {"improve": 0.6, "combine": 0.2, "simplify": 0.1, "leap": 0.1}
PUSHED = {"improve": 0.4, "combine": 0.2, "simplify": 0.1, "leap": 0.3}
_REPAIR = 0.5
_RECENT = 5
"""The model may be asked to repair a crashed edit in this many experiments after the crash."""
_LAST = 3
"""Number of latest tries whose axes the model is told to avoid."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task for the model.

    ``text`` describes the task in the prompt.  ``base`` is the commit to start from; None means the incumbent.
    """

    kind: Kind
    axis: str | None
    text: str
    idea: int | None = None
    base: str | None = None
    experiments: tuple[int, ...] = ()
    """Numbers of the earlier experiments that the task builds on."""


CHOICE = Task("choice", None, "")
"""Task of a model that chooses from the optimiser's moves.  Its text is empty, because the prompt lists the moves."""


def choose_task(context: Context, ideas: Sequence[Idea], known_axes: Sequence[str]) -> Task:
    """Return the task for this experiment.  Equal histories, ideas, seeds and numbers give the same task."""
    waiting = [idea for idea in ideas if idea.state == "open"]
    if (wish := next((idea for idea in waiting if idea.source == YOU), None)) is not None:
        return _idea(wish, context)
    dice = random.Random(f"task {context.seed} {context.number}")
    kind, repairs = _drawn(dice, context), dice.random() < _REPAIR
    if repairs and (broken := crashed(context.history)) is not None:
        text = task_texts.repair(broken)
        return Task("repair", axis_tried(broken), text, experiments=(broken.number,))
    known = tuple(dict.fromkeys([*known_axes, *(i.axis for i in waiting if i.axis)]))
    if on_island(context.history):
        return _leap(context, known, dice, _ancestor(context, dice))
    if kind == "combine" and (pair := choose_pair(context, dice)) is not None:
        text = task_texts.combine(*pair) + _pushed(context)
        return Task("combine", None, text, experiments=(pair[0].number, pair[1].number))
    if kind == "simplify":
        return Task("simplify", None, task_texts.simplify(context) + _pushed(context))
    if kind == "leap":
        return _leap(context, known, dice, None)
    return _improve(context, waiting, known, dice)


def stagnation(history: History) -> int:
    """Return the number of experiments since the last keep; interrupted experiments do not count."""
    best = history.incumbent
    return sum(e.status != "interrupted" for e in history.experiments if best is not None and e.number > best.number)


def on_island(history: History) -> bool:
    """Return whether the next experiment should start from an older version (see ``LEAP`` and ``ISLAND``)."""
    over = stagnation(history) - LEAP
    return over >= 0 and (over // ISLAND) % 2 == 0


def crashed(history: History) -> Experiment | None:
    """Return the last experiment of a model if it crashed recently and was not a repair; None otherwise."""
    recent = history.experiments[-_RECENT:]
    last = next((e for e in reversed(recent) if e.talk.get("task", CHOICE.kind) != CHOICE.kind), None)
    return last if last is not None and last.status == "crash" and last.talk["task"] != "repair" else None


def never_tried(known: Sequence[str], history: History) -> tuple[str, ...]:
    tried = {axis for e in history.experiments if was_tried(e) for axis in axes_touched(e)} | set(records(history))
    return tuple(axis for axis in known if axis not in tried)


def _drawn(dice: random.Random, context: Context) -> str:
    shares = PUSHED if stagnation(context.history) >= PUSH else SHARES
    return dice.choices(list(shares), list(shares.values()))[0]


def _pushed(context: Context) -> str:
    stalled = stagnation(context.history)
    return f"\n{task_texts.stalled(stalled)}" if stalled >= PUSH else ""


def _idea(idea: Idea, context: Context) -> Task:
    pushed = "" if idea.source == YOU else _pushed(context)
    return Task("idea", idea.axis, task_texts.idea(idea, context) + pushed, idea=idea.id)


def _improve(context: Context, waiting: Sequence[Idea], known: Sequence[str], dice: random.Random) -> Task:
    """Return a task on the chosen axis: an open idea on this axis, or else only the axis.

    Sometimes the task is the oldest open idea instead.
    """
    history = context.history
    resting, candidates = banned(history, context.number), known
    pushed = stagnation(history) >= PUSH
    if pushed:
        candidates = never_tried(known, history) or _other_kinds(known, history) or known
    axis = choose_axis(candidates, history, context.seed, context.number)
    allowed = [i for i in waiting if i.axis not in resting and (not pushed or i.axis is None or i.axis in candidates)]
    coin = dice.random() < 0.5
    chosen = next((i for i in allowed if i.axis == axis), allowed[0] if allowed and coin else None)
    if chosen is not None:
        return _idea(chosen, context)
    if axis is None:
        return Task("axis", None, task_texts.anything(context) + _pushed(context))
    push = f"\n{task_texts.push(stagnation(history), _last_axes(history), ())}" if pushed else ""
    return Task("axis", axis, task_texts.axis(axis, context) + push)


def _other_kinds(known: Sequence[str], history: History) -> tuple[str, ...]:
    last = _last_axes(history)
    return tuple(axis for axis in known if axis not in last)


def _last_axes(history: History) -> tuple[str, ...]:
    """Return the axes of the last tries, newest first."""
    named = [axis_tried(e) for e in reversed(history.experiments) if e.number > 0 and was_tried(e)][:_LAST]
    return tuple(dict.fromkeys(axis for axis in named if axis is not None))


def _leap(context: Context, known: Sequence[str], dice: random.Random, origin: Experiment | None) -> Task:
    stalled = stagnation(context.history)
    unused = list(never_tried(known, context.history))
    dice.shuffle(unused)
    text = task_texts.leap(context, origin)
    if stalled >= PUSH:
        text += f"\n{task_texts.push(stalled, _last_axes(context.history), unused)}"
    elif unused:
        text += f"\n{task_texts.unused(unused)}"
    if origin is None:
        return Task("leap", None, text)
    return Task("leap", None, text, base=origin.commit, experiments=(origin.number,))


def _ancestor(context: Context, dice: random.Random) -> Experiment | None:
    """Draw an older kept version at random; None if there is no older version.

    A version from which few experiments have started is more likely.
    """
    history, best = context.history, context.history.incumbent
    leaps = [e.base for e in history.experiments if e.talk.get("task") == "leap"]
    kept = [e for e in history.experiments if e.status == "keep" and e.commit and e is not best]
    other = [e for e in kept if (files := context.read(e.commit or "")) and files != context.files]
    if not other:
        return None
    return dice.choices(other, [1 / (1 + leaps.count(e.commit)) for e in other])[0]
