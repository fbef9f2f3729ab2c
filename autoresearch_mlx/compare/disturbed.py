"""Find the experiments that the machine disturbed so much that their effects cannot be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.judge.evidence import Rules

_PROGRAMS = "other programs used the processor"
_SLOW = "the machine was too slow during these experiments"
_OTHER = "each run of these experiments was disturbed"


def why_left_out(experiment: Experiment) -> str:
    """Return why the effect of an experiment cannot be compared, or an empty string if it can be compared.

    There are two reasons.  The first is that the machine disturbed every run, or so many runs that the experiment is
    invalid.  The second is that most of the effect's error is due to the machine's speed.  The second reason does not
    count for a kept experiment, because later experiments were compared with it.
    """
    e = experiment
    disturbed = [m for m in e.measurements if m.tainted]
    given_up = e.status == "invalid" and len(disturbed) >= Rules().spoiled
    if disturbed and (given_up or len(disturbed) == len(e.measurements)):
        return _cause([m.disturbed_by for m in disturbed], _OTHER)
    blur, error = e.effect.get("speed_error"), e.effect.get("error")
    if e.status == "keep" or not isinstance(blur, int | float) or not isinstance(error, int | float):
        return ""
    return _cause([m.disturbed_by for m in e.measurements], _SLOW) if 2 * blur**2 > error**2 else ""


def _cause(told: Sequence[str], otherwise: str) -> str:
    named = [words for words in told if words]
    if not named:
        return otherwise
    return _PROGRAMS if any(words.startswith("other programs") for words in named) else _SLOW


def left_out_in_words(reasons: Sequence[str]) -> tuple[str, ...]:
    """Return a line for each reason, such as ``3 experiments left out: other programs used the processor``.

    The most frequent reason comes first.
    """
    counts = Counter(reason for reason in reasons if reason)
    return tuple(f"{terms.plural(many, 'experiment')} left out: {reason}" for reason, many in counts.most_common())
