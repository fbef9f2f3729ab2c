"""Measure in the parent how much of its budget a run has used, by the parent's clock or by the tokens served.

The steps and losses that the script reports are shown, but do not count here.  A budget of operations depends on the
size of the model.  The child reports this size, and the parent compares it with the weights that the child saves.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from autoresearch_mlx.trial.allowances import step_share
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.spec import FLOPS_PER_PARAMETER, count, shapes_of

_FLOOR = 0.9
"""Smallest share of the budget that a run must use to be valid."""
_OVER_SECONDS, _OVER_SHARE = 4.0, 0.1
"""Largest time by which the last step may exceed the budget: a number of seconds or a share, whichever is larger.

A longer excess would be training time that other candidates do not have.
"""
_BEGINS_SECONDS = 600.0
"""Seconds from which the limits for the start and the first step are computed if the budget is not a time.

If a run may take less time than this, the limits are computed from that shorter time.
"""
_PACE_AFTER, _PACE_TIMES, _PACE_MORE = 0.02, 4.0, 30.0
"""Three numbers for limiting the time of a run by its pace.

After the first number, a share of the budget, the pace is known.  From then on, the run may take the time that its pace
predicts, multiplied by the second number, plus the third number of seconds.
"""
_SILENT_SECONDS, _SILENT_TIMES = 600.0, 10.0
"""Two limits on the time without a new token: a number of seconds, and a multiple of the run's longest step.

A run that exceeds both limits counts as hung.  Some steps take minutes.
"""


_UNDER_WAY = 2
"""Number of steps that MLX must still compute after Python has requested a batch, because MLX computes later.

The two steps are the step of this batch and the step before it.
"""
_SMALLER = "make a step smaller (TOTAL_BATCH_SIZE in train_mlx.py), or raise [budget] seconds in lab.toml"


class Meter(Protocol):
    """Counts how much of its budget one run has used.  ``spent`` is the seconds of training by the parent's clock."""

    @property
    def ends_by_clock(self) -> bool:
        """Whether the budget is a time and not a number of steps, tokens or operations."""
        ...

    @property
    def scale(self) -> float:
        """Seconds from which the time limits for the start and the first step are computed."""
        ...

    def hear(self, event: Mapping[str, Any], spent: float) -> None:
        """Process an event from the child; its ``tokens`` is the number of tokens served so far.

        The child can write anything into the other fields of ``event``.
        """
        ...

    def ended(self, spent: float, tokens: int, pace: float) -> bool:
        """Return whether the budget is used up, so that no more batches are served.

        ``tokens`` is the number of tokens served.  ``pace`` is the usual number of seconds between two batches, 0 if
        unknown.
        """
        ...

    def share(self, spent: float) -> float:
        """Return the share of the budget used so far; a run that exceeds its budget has a share above 1."""
        ...

    def left(self, spent: float) -> float | None:
        """Return how many more seconds the training will take, or None while this is unknown."""
        ...

    def overstayed(self, spent: float) -> str | None:
        """Return the reason why the run must be killed now, as a sentence, or None if it may go on."""
        ...

    def fault(self, spent: float, facts: Mapping[str, Any], weights: Path) -> str | None:
        """Return a sentence about how the finished run broke its budget, or None if the run kept within it.

        ``facts`` has these entries:

        - ``tokens``: the number of tokens served
        - ``step_seconds``: the usual number of seconds between two batches
        - ``steps``: the number of steps that the script reported
        - ``refused``: whether the parent ended the run by serving no more rows
        - ``held``: whether the time after the budget is compared with the baseline's
        """
        ...


def meter_of(conditions: Conditions, tables: int | None = None) -> Meter:
    """Return the meter for the kind of budget that the conditions name; ``spec.count`` explains ``tables``."""
    by_count = conditions.budget_tokens is not None or conditions.budget_flops is not None
    return ByCount(conditions, tables) if by_count and conditions.steps is None else ByClock(conditions)


class ByClock:
    """Counts a budget of seconds.  It is also the meter of a run with a fixed number of steps.

    Such a run may take three times its budget of seconds, plus 30 s.
    """

    def __init__(self, conditions: Conditions) -> None:
        self.scale = conditions.budget_seconds
        self._by_steps = conditions.steps is not None
        self.ends_by_clock = not self._by_steps

    def hear(self, event: Mapping[str, Any], spent: float) -> None:
        pass

    def ended(self, spent: float, tokens: int, pace: float) -> bool:
        """Return whether the budget is used up, or too much of the next step would lie after the budget's end."""
        if self._by_steps or spent <= 0:
            return False
        return spent + pace / 2 >= self.scale or spent + _UNDER_WAY * pace > self.scale + step_share(self.scale)

    def share(self, spent: float) -> float:
        return spent / self.scale

    def left(self, spent: float) -> float | None:
        return self.scale - spent

    def overstayed(self, spent: float) -> str | None:
        """Return the reason if the run must be killed, or None while a slow last step can explain the excess."""
        limit = 3 * self.scale + 30 if self._by_steps else self.scale + max(10.0, 0.25 * self.scale)
        said = f"training on a budget of {self.scale:g} s did not end within {limit:.0f} s; killed"
        return f"{said}; if one step takes that long, {_SMALLER}" if spent > limit else None

    def fault(self, spent: float, facts: Mapping[str, Any], weights: Path) -> str | None:
        budget = self.scale
        if self._by_steps:
            return None
        if spent < _FLOOR * budget and not facts.get("refused"):
            return f"training stopped after {spent:.1f} s of its budget of {budget:g} s"
        if not facts.get("held") and spent > budget + max(_OVER_SECONDS, _OVER_SHARE * budget):
            said = f"training went on for {spent - budget:.1f} s after its budget of {budget:g} s"
            step = facts.get("step_seconds") or 0.0
            return f"{said}: a step takes {step:.1f} s; {_SMALLER}" if step > step_share(budget) else said
        return None


class ByCount:
    """Counts a budget of tokens or operations; the clock only limits how long the run may take."""

    def __init__(self, conditions: Conditions, tables: int | None = None) -> None:
        self._tables = tables
        self._goal: float | None = conditions.budget_tokens
        """Tokens to train on, or None until the child has reported the size of the model."""
        self._flops = conditions.budget_flops
        self._most = conditions.budget_seconds
        self._vocab_size, self._seq_len = conditions.vocab_size, conditions.seq_len
        self.scale = min(self._most, _BEGINS_SECONDS)
        self.ends_by_clock = False
        self._limit = self._most
        self._matrix: int | None = None
        self._told = 0
        self._first: int | None = None
        """Number of tokens served before the clock started."""
        self._at = 0.0
        self._longest = 0.0

    def hear(self, event: Mapping[str, Any], spent: float) -> None:
        if event.get("event") == "sized" and self._matrix is None and (matrix := _whole(event.get("matrix_params"))):
            self._matrix = matrix
            if self._flops is not None:
                self._goal = self._tokens_for(matrix)
        if event.get("event") in ("train", "step", "trained") and (tokens := _whole(event.get("tokens"))) is not None:
            self._count(tokens, spent)
            if event.get("event") == "train" and self._first is None:
                self._first = tokens
            self._pace()

    def _count(self, tokens: int, spent: float) -> None:
        if tokens > self._told:
            self._longest = max(self._longest, spent - self._at)
            self._told, self._at = tokens, spent

    def _pace(self) -> None:
        done = self._told - (self._first or 0)
        if self._limit < self._most or not self._goal or self._at <= 0 or done < _PACE_AFTER * self._goal:
            return
        self._limit = min(self._most, _PACE_TIMES * self._at * self._goal / done + _PACE_MORE)

    def ended(self, spent: float, tokens: int, pace: float) -> bool:
        return self._goal is not None and tokens >= self._goal

    def share(self, spent: float) -> float:
        return min(self._told / self._goal, 1.0) if self._goal else 0.0

    def left(self, spent: float) -> float | None:
        done = self._told - (self._first or 0)
        if not self._goal or done <= 0 or self._at <= 0:
            return None
        return max((self._goal - self._told) * self._at / done - (spent - self._at), 0.0)

    def overstayed(self, spent: float) -> str | None:
        silent = max(_SILENT_SECONDS, _SILENT_TIMES * self._longest)
        if spent - self._at > silent:
            return f"training used no new token for {silent:.0f} s; killed"
        paced = f"{_PACE_TIMES:g} times the time predicted from its first steps, plus {_PACE_MORE:g} s"
        why = "the longest that a run may take" if self._limit == self._most else paced
        said = f"training on {self._words()} did not end within {self._limit:.0f} s, {why}; killed"
        return said if spent > self._limit else None

    def fault(self, spent: float, facts: Mapping[str, Any], weights: Path) -> str | None:
        tokens, steps = _whole(facts.get("tokens")), _whole(facts.get("steps"))
        if tokens is None or steps is None:
            return "the script did not report its numbers of tokens and steps"
        if tokens % self._seq_len or not 0 < steps <= tokens // self._seq_len:
            return f"{tokens:,} tokens in {steps:,} steps cannot be whole rows of {self._seq_len} tokens"
        if self._flops is not None and (wrong := self._resized(weights)) is not None:
            return wrong
        goal = self._goal or 0.0
        if tokens < _FLOOR * goal:
            return f"training stopped after {tokens:,} tokens of its budget of {self._words()}"
        if tokens > (1 + _OVER_SHARE) * goal:
            said = f"training used {tokens:,} tokens, and its budget is {self._words()}"
            return f"{said}: a step is too large for the budget"
        return None

    def _resized(self, weights: Path) -> str | None:
        """Return a sentence if the size of the saved model differs from the reported size, else None."""
        try:
            matrix = count(shapes_of(weights), self._vocab_size, self._tables)["matrix_params"]
        except (OSError, ValueError) as error:
            return f"the weights cannot be counted: {error}"
        if matrix == self._matrix:
            return None
        told = "no size was reported" if self._matrix is None else f"{self._matrix:,} were reported at the start"
        said = f"the saved model has {matrix:,} matrix parameters, but {told}"
        return f"{said}; the budget of FLOPs depends on this number"

    def _tokens_for(self, matrix: int) -> float:
        assert self._flops is not None
        return max(1.0, self._flops / (FLOPS_PER_PARAMETER * matrix))

    def _words(self) -> str:
        return f"{self._goal:,.0f} tokens" if self._goal else "tokens"


def _whole(value: Any) -> int | None:
    """Return ``value`` if it is a whole number from 0 up to 2**62, else None; the child can send anything."""
    return value if type(value) is int and 0 <= value < 2**62 else None
