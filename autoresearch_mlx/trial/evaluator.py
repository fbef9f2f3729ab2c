"""Score saved weights.

This sealed evaluator reads the held-out rows, knows the targets and computes the score.  The evaluator never imports
the edited file.  It starts two processes that import the edited file (:mod:`logits`), with the same instructions.  The
evaluator sends inputs without targets, and the processes answer with logits (:mod:`cuts` draws the rows).  The
evaluator turns the logits into losses in nats (:mod:`scoring`).  On every row it measures what the model gained by
looking ahead, and removes this gain from the score (:mod:`lookahead`).  A measurement is invalid if a loss is not
finite, or if the losses of the two processes differ by more than rounding explains.  The reason is recorded.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np

from autoresearch_mlx.trial.cuts import LEAD, PROCESSES, Call, calls, draw_plan
from autoresearch_mlx.trial.exchange import Died, Frame, Hung, Invalid, Respondent, Tokens
from autoresearch_mlx.trial.lookahead import TOLERANCES, Tolerance, check, gain
from autoresearch_mlx.trial.scoring import Score, bits_per_byte, check_finite, check_sums, score_on
from autoresearch_mlx.trial.spec import EVENTS_ENV, EvalSpec, Events, read_eval_spec

Result = TypeVar("Result")
_SECOND_SHARE, _SECOND_TIMES = 0.25, 5.0
"""Two factors for the time limit of the second model's first answer.

The limit is the longer of two times.  They are the first model's limit, multiplied by the first factor, and the time
that the first model took, multiplied by the second factor.
"""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A score and its two parts, in bits per byte: ``value`` is the sum of ``scored`` and ``lookahead``."""

    value: float
    scored: float
    lookahead: float
    """The gain from looking ahead, measured on the cut rows.  An honest model gains 0, apart from rounding."""
    lookahead_error: float
    """Standard error of ``lookahead``."""
    clipped: int
    """Number of logits in all calls that were beyond the bound of :mod:`scoring`."""


def main(spec_path: str) -> None:
    spec, events = read_eval_spec(spec_path), Events()
    os.environ.pop(EVENTS_ENV, None)
    if (found := found_or_told(evaluate, spec, events)) is not None:
        events.send("evaluated", **asdict(found))


def found_or_told(work: Callable[[EvalSpec], Result], spec: EvalSpec, events: Events) -> Result | None:
    """Return the result of ``work``; if ``work`` fails, send the reason to the parent and return None."""
    try:
        return work(spec)
    except Invalid as failure:
        events.send("invalid", reason=str(failure)[:1000])
    except Died as death:
        events.send("died", returncode=death.returncode)
    except Hung as hang:
        events.send("hung", seconds=hang.seconds)
    return None


def evaluate(spec: EvalSpec) -> Evaluated:
    """Score the held-out rows that ``spec`` names.

    Raises Invalid if an answer breaks a rule, Died if a model process has ended, and Hung if a model process does
    nothing for too long.
    """
    rng = np.random.default_rng(int.from_bytes(os.urandom(16)))
    inputs, targets = pairs(spec)
    tails = np.load(spec.tails, mmap_mode="r", allow_pickle=False)
    weight = np.load(spec.token_bytes, allow_pickle=False)
    frame = Frame(spec.rows_per_call, spec.seq_len, spec.vocab_size)
    with ExitStack() as stack:
        models = [
            stack.enter_context(Respondent(spec.models[at], spec.environments[at], frame))
            for at in rng.permutation(PROCESSES)
        ]
        # On a GPU a call of another size can need other kernels, and then both processes would compile at the same
        # time.
        shown = tails[: spec.rows_per_call if spec.device == "gpu" else 1, : spec.seq_len].astype(np.int32)
        greet(models, shown, spec.answer_seconds)
        found = _Pass(inputs, targets, score_on(spec.device), rng, spec.answer_seconds)
        plan = draw_plan(len(inputs), len(tails), spec.seq_len, spec.rows_per_call, rng)
        waiting: deque[tuple[Call, ...]] = deque()
        for round_ in calls(plan, inputs, tails, spec.rows_per_call, rng):
            if len(waiting) == LEAD:
                found.take(models, waiting.popleft())
            for model, call in zip(models, round_, strict=True):
                model.ask(call.inputs)
            waiting.append(round_)
        while waiting:
            found.take(models, waiting.popleft())
    counted = weight[targets] > 0
    check_finite(found.scored, counted)
    check_finite(found.witnessed, counted & (np.arange(spec.seq_len) < plan.cuts[:, None]))
    check(np.where(counted, found.scored, np.nan), found.witnessed, plan.cuts, tolerance(found.types, spec))
    gained = gain(found.scored, found.witnessed, targets, plan.cuts, counted)
    scored = bits_per_byte(float(found.scored[counted].sum(dtype=np.float64)), targets, weight)
    ahead = bits_per_byte(gained.nats, targets, weight)
    return Evaluated(scored + ahead, scored, ahead, bits_per_byte(gained.error, targets, weight), found.clipped)


def greet(models: Sequence[Respondent], inputs: Tokens, patience: float) -> None:
    """Let one model after the other load its weights and answer rows that are not scored.

    If two processes compile for Metal at the same moment, they can use the same file in Metal's cache.  Then one
    process waits for a lock for as long as the other runs.  So a model process uses neither the device nor the edited
    file before its first question.  Raises Hung if the first model neither answers nor computes for ``patience``
    seconds; the second model has its own limit.  Raises Died or Invalid in the same cases as :func:`evaluate`.
    """
    longest = patience
    for model in models:
        began = time.monotonic()
        model.ask(inputs)
        model.answer(patience)
        patience = min(longest, max(_SECOND_SHARE * longest, _SECOND_TIMES * (time.monotonic() - began)))


def pairs(spec: EvalSpec) -> tuple[Tokens, Tokens]:
    """Return inputs and targets, each int32 [row_count, seq_len]."""
    rows = np.load(spec.rows, mmap_mode="r", allow_pickle=False)[: spec.row_count].astype(np.int32)
    return rows[:, :-1], rows[:, 1:]


class _Pass:
    """The losses of all rows so far, as two arrays of n rows and seq_len columns.

    An entry without an answer is NaN in ``scored`` and 0 in ``witnessed``, the losses on cut rows.
    """

    def __init__(
        self, inputs: Tokens, targets: Tokens, score: Score, rng: np.random.Generator, patience: float
    ) -> None:
        """Store the arguments.  A model that neither answers nor computes for ``patience`` seconds counts as hung."""
        self.scored = np.full(targets.shape, np.nan, np.float32)
        self.witnessed = np.zeros(targets.shape, np.float32)
        self.types: set[str] = set()
        self.clipped = 0
        self._inputs, self._targets, self._score, self._rng = inputs, targets, score, rng
        self._patience = patience

    def take(self, models: list[Respondent], round_: tuple[Call, ...]) -> None:
        """Wait for the answers to one round of calls, and store their losses.  Raises Invalid, Died, Hung."""
        for model, call in zip(models, round_, strict=True):
            answer = model.answer(self._patience)
            # After a cut, the targets are the next tokens of the inputs, because all losses of a witness must be
            # finite.
            wanted = np.where(
                np.arange(call.inputs.shape[1]) < call.cuts[:, None],
                self._targets[call.rows],
                np.concatenate([call.inputs[:, 1:], call.inputs[:, -1:]], axis=1),
            )
            losses = self._score(answer.bits, answer.logits, wanted)
            check_sums(answer.bits, answer.logits, losses, self._rng)
            if np.isnan(losses.nats).any():
                raise Invalid("finite: some logits are NaN or infinite")
            self.types |= {answer.logits}
            self.clipped += losses.clipped
            whole = call.counts & (call.cuts == call.inputs.shape[1])
            self.scored[call.rows[whole]] = losses.nats[whole]
            cut = call.counts & ~whole
            self.witnessed[call.rows[cut]] = losses.nats[cut]


def tolerance(types: set[str], spec: EvalSpec) -> Tolerance:
    """Return the tolerance for the coarsest number type in use.

    On a GPU bfloat16 always counts as in use, because the model computes in bfloat16.
    """
    coarse = types | {spec.weights_type} | ({"bfloat16"} if spec.device == "gpu" else {"float32"})
    return max((TOLERANCES[name] for name in coarse if name in TOLERANCES), key=lambda known: known.largest)


if __name__ == "__main__":
    main(sys.argv[1])
