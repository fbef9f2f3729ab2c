"""Score saved weights in a sealed process, which holds the rows and the targets and never imports the edited file:

    python -P -m autoresearch_mlx.trial.evaluator SPEC_PATH

It starts two processes that do import the edited file (``logits``).  One is asked for the logits of all rows, given
the inputs alone; the other, the witness, answers a few questions whose answers are compared with the first one's
(``witness``).  This process turns the logits into bits per byte (``scoring``).  A failed check makes the measurement
invalid, and the reason names the check.

Inputs are all tokens of a row but the last, targets all but the first, so the inputs contain every target but the last.
The causality check proves that the model does not look ahead at them.
"""

from __future__ import annotations

import os
import select
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from autoresearch_mlx.trial.exchange import Died, Frame, Invalid, Respondent, Tokens
from autoresearch_mlx.trial.scoring import Losses, Nats, bits_per_byte, check_finite, losses_on
from autoresearch_mlx.trial.spec import EVENTS_ENV, EvalSpec, Events, read_eval_spec
from autoresearch_mlx.trial.witness import TOLERANCES, Tolerance, check, draw_questions


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a model: inputs and targets [rows, seq_len], and the array [rows, seq_len] for the losses."""

    inputs: Tokens
    targets: Tokens
    nats: Nats


def main(spec_path: str) -> None:
    spec, events = read_eval_spec(spec_path), Events()
    os.environ.pop(EVENTS_ENV, None)
    try:
        value = evaluate(spec)
    except Invalid as failure:
        events.send("invalid", reason=str(failure)[:1000])
        return
    except Died as death:
        events.send("died", returncode=death.returncode)
        return
    events.send("evaluated", value=value)


def evaluate(spec: EvalSpec) -> float:
    """Return the bits per byte of the saved weights on the first ``row_count`` held-out rows.

    Raises Invalid when a check fails, and Died when a model's process ended by itself.
    """
    frame = Frame(spec.rows_per_call, spec.seq_len, spec.vocab_size)
    with (
        Respondent(spec.model, spec.model_environment, frame) as model,
        Respondent(spec.witness, spec.witness_environment, frame) as witness,
    ):
        inputs, targets = pairs(spec)
        weight = np.load(spec.token_bytes, allow_pickle=False)
        asked = draw_questions(inputs, spec.rows_per_call, np.random.default_rng(int.from_bytes(os.urandom(8))))
        scored, again, mixed = (empty(targets[rows]) for rows in (slice(None), asked.again, asked.mixed))
        size = spec.rows_per_call
        first = calls(inputs[asked.again], targets[asked.again], again, size)
        questions = {
            model: calls(inputs, targets, scored, size),
            witness: chain(first, calls(asked.inputs, targets[asked.mixed], mixed, size)),
        }
        types = answer_all(questions, losses_on(spec.device))
    check_finite(scored, weight[targets] > 0)
    check(asked, scored, again, mixed, tolerance(types, spec.device))
    return bits_per_byte(scored, targets, weight)


def pairs(spec: EvalSpec) -> tuple[Tokens, Tokens]:
    """Return inputs and targets, int32 [row_count, seq_len] each."""
    rows = np.load(spec.rows, mmap_mode="r", allow_pickle=False)[: spec.row_count].astype(np.int32)
    return rows[:, :-1], rows[:, 1:]


def empty(targets: Tokens) -> Nats:
    """Return an array of NaN for the losses of ``targets``: a loss that is never filled in fails the finite check."""
    return np.full(targets.shape, np.nan, np.float32)


def calls(inputs: Tokens, targets: Tokens, nats: Nats, size: int) -> Iterator[Call]:
    """Cut a pass over all rows into calls of ``size`` rows."""
    for start in range(0, len(inputs), size):
        rows = slice(start, start + size)
        yield Call(inputs[rows], targets[rows], nats[rows])


def answer_all(questions: Mapping[Respondent, Iterator[Call]], losses: Losses) -> set[str]:
    """Ask every process its questions and fill in the losses; return the number types of logits and weights seen.

    While this process scores one call, the model's process computes the next.  Raises Invalid, Died.
    """
    waiting: dict[Respondent, deque[Call]] = {who: deque() for who in questions}
    types: set[str] = set()
    for who in questions:
        _ask(who, questions[who], waiting[who])
    while busy := [who for who in questions if waiting[who]]:
        for who in [who for who in busy if who.heard] or select.select(busy, [], [])[0]:
            answer, call = who.answer(), waiting[who].popleft()
            types |= {answer.logits, answer.weights}
            call.nats[:] = losses(answer, call.targets)
            _ask(who, questions[who], waiting[who])
    return types


def _ask(who: Respondent, questions: Iterator[Call], waiting: deque[Call]) -> None:
    """Send as many questions as the process can hold."""
    for call in islice(questions, who.free):
        who.ask(call.inputs)
        waiting.append(call)


def tolerance(types: set[str], device: str) -> Tolerance:
    """Return the tolerance of the coarsest number type in use.

    On a GPU that is bfloat16 at least: the model computes in it, whatever the types of its weights and logits.
    """
    coarse = types | ({"bfloat16"} if device == "gpu" else {"float32"})
    return max((TOLERANCES[name] for name in coarse), key=lambda known: known.largest)


if __name__ == "__main__":
    main(sys.argv[1])
