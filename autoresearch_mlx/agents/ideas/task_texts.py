"""Write the text of each task: two to six lines that a small model can understand."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch_mlx.agents.ideas.axes import knobs_of, was_tried
from autoresearch_mlx.agents.ideas.axis_names import axis_tried
from autoresearch_mlx.agents.ideas.idea import YOU, Idea
from autoresearch_mlx.agents.ideas.misses import resolution
from autoresearch_mlx.experiment import Context, Experiment
from autoresearch_mlx.judge.history import standing
from autoresearch_mlx.lab.source import literal
from autoresearch_mlx.terms import cut, gain, one_line, value

_TITLE, _REASON = 80, 200
_NAMED = 12
"""Maximum number of axes that a text lists."""
_EARLIER = 3


def axis(name: str, context: Context) -> str:
    lines = [f"Task this time: improve {context.history.metric} by one change on the axis `{name}`."]
    knobs = knobs_of(name, context.files)
    if knobs:
        lines.append(f"Constants that belong to it: {', '.join(f'{k} = {literal(v)}' for k, v in knobs.items())}.")
    else:
        lines.append("No constant of the files belongs to it: change the code.")
    tried = (e for e in context.history.experiments if e.number > 0 and was_tried(e))
    earlier = [e for e in tried if axis_tried(e) == name][-_EARLIER:]
    if earlier:
        lines.append(f"Tried on it before: {'; '.join(_told(e) for e in earlier)}. Do something else.")
    else:
        lines.append("Nothing has been tried on it yet in this session.")
    return "\n".join([*lines, *_size(context)])


def anything(context: Context) -> str:
    lines = [f"Task this time: improve {context.history.metric} by one change of your choice.", *_size(context)]
    return "\n".join(lines)


def idea(idea: Idea, context: Context) -> str:
    by = "The person who owns this lab asks for it: do this, and nothing else." if idea.source == YOU else ""
    lines = [
        f"Task this time: try this idea{f', on the axis `{idea.axis}`' if idea.axis else ''}:",
        _line(idea.title, 2 * _TITLE),
        f"Why it may help: {_line(idea.hypothesis, 300)}" if idea.hypothesis else "",
        by or "Carry it out as one small change, complete enough to run.",
    ]
    return "\n".join(line for line in lines if line)


def combine(one: Experiment, other: Experiment) -> str:
    return "\n".join(
        [
            "Task this time: combine two changes that each came out even alone; together they may win.",
            f"First, experiment {_miss(one)}.",
            f"Second, experiment {_miss(other)}.",
            "Make both changes in the files shown here, and no third one.",
        ]
    )


def simplify(context: Context) -> str:
    return "\n".join(
        [
            "Task this time: take something away.",
            "Find a part of the code that may not earn its place: remove it, or put something simpler there.",
            f"{context.history.metric} must not get worse. What is simpler is often faster, and then it does more"
            " in the same time.",
        ]
    )


def leap(context: Context, origin: Experiment | None) -> str:
    lines = ["Task this time: something radical. Change how the program works, not the value of one constant."]
    if origin is not None:
        best = context.history.incumbent
        beat = f" It must beat the incumbent's {value(standing(context.history, best))}." if best is not None else ""
        lines.append(
            f"Start from an older kept version: the files shown are those of experiment {origin.number},"
            f" {_title(origin)} ({context.history.metric} {value(origin.value)}).{beat}"
        )
    lines.append("Aim for a gain several times as large as the usual one; a bold change may fail.")
    return "\n".join(lines)


def repair(broken: Experiment) -> str:
    what = f"{broken.number}, {_title(broken)}{_on(broken)}"
    return "\n".join(
        [
            f"Task this time: experiment {what}, crashed, but its idea may be good.",
            f"What happened: {_line(broken.reason, _REASON) or 'no reason is known'}",
            "Carry out the same idea again without that mistake. The files shown do not contain it.",
            "Change as little else as possible.",
        ]
    )


def stalled(experiments: int) -> str:
    return f"Nothing was kept in the last {experiments} experiments: small steps of the usual kind are used up."


def push(experiments: int, last: Sequence[str], never: Sequence[str]) -> str:
    """Return the lines that ask the model for something unlike the last tries.

    ``last`` has the axes of the last tries, and ``never`` has the axes that were not tried in this session.
    """
    away = f" Make a change of another kind than the last tries ({', '.join(last)})." if last else ""
    return "\n".join([f"{stalled(experiments)}{away}", *([unused(never)] if never else [])])


def unused(never: Sequence[str]) -> str:
    more = f" and {len(never) - _NAMED} more" if len(never) > _NAMED else ""
    return f"Never tried in this session: {', '.join(never[:_NAMED])}{more}."


def _size(context: Context) -> list[str]:
    unit = resolution(context)
    return [f"Make the step large enough to show: a gain below {unit:.2g} is noise."] if unit else []


def _told(e: Experiment) -> str:
    result = e.status if e.gain is None else f"{e.status}, gain {gain(e.gain)}"
    return f"{_line(e.title, _TITLE)} ({result})"


def _miss(e: Experiment) -> str:
    return f"{e.number}: {_title(e)} (axis `{axis_tried(e)}`, gain {gain(e.gain)})"


def _on(e: Experiment) -> str:
    return f" (axis `{axis_tried(e)}`)" if axis_tried(e) else ""


def _title(e: Experiment) -> str:
    return f'"{_line(e.title, _TITLE)}"'


def _line(text: str, width: int) -> str:
    return cut(one_line(text[: 10 * width]), width)
