"""Find the experiments that wait for a person because their gain was too good to be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.judge.history import standing

UNCOUNTED = "which this budget does not count"
"""Words at the end of a verdict's reason if a run did work that the budget does not count."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An experiment that waits for a person; ``words`` has the facts about it and the commands for a decision."""

    number: int
    gain: float
    """Gain over the incumbent, in the metric's unit."""
    percent: float | None
    """The gain in percent of the incumbent's value, or None if that value is 0."""
    words: str


def waiting(history: History) -> tuple[Waiting, ...]:
    """Return the experiments that wait for a person, oldest first.

    An experiment waits until it is accepted, or until its value is no longer better than the incumbent's.
    """
    best = history.incumbent
    held = [e for e in history.experiments if e.held and e.commit is not None and e.base is not None]
    if best is None or not held:
        return ()
    accepted = {e.talk.get("accepts") for e in history.experiments if e.status != "interrupted"}
    now, found = standing(history, best), []
    for e in held:
        if e.number not in accepted and e.value is not None and history.gain(e.value, over=now) > 0:
            found.append(_waiting(e, _gain(history, e, best, now), now))
    return tuple(found)


def waiting_in_words(found: Sequence[Waiting]) -> str:
    """Return one line for each experiment that waits: ``waiting for you: #1, gain 1.096275 (30 %): ...``."""
    return "\n".join(f"waiting for you: {each.words}" for each in found)


def _gain(history: History, e: Experiment, best: Experiment, now: float) -> float:
    """Return the gain in the log if the incumbent has not changed since the experiment, else the difference of the
    values."""
    if e.gain is not None and e.gain > 0 and (e.against or e.base) == best.commit:
        return e.gain
    assert e.value is not None
    return history.gain(e.value, over=now)


def _waiting(e: Experiment, gain: float, now: float) -> Waiting:
    percent = 100 * gain / abs(now) if now else None
    share = f" ({percent:.0f} %)" if percent is not None else ""
    words = f"#{e.number}, gain {terms.amount(gain)}{share}: {_why(e)}; `show {e.number}`, then `accept {e.number}`"
    return Waiting(e.number, gain, percent, words)


def _why(e: Experiment) -> str:
    if UNCOUNTED in e.reason:
        return "the budget does not count a part of its work"
    if any("audit_doubt" in m.extra for m in e.measurements):
        return "its audit left a doubt"
    audited = any(m.extra.get("audited") is True for m in e.measurements)
    return "its audit found nothing wrong" if audited else "its gain is too good to be believed"
