"""Choose the rows for each call of the two model processes, and the cuts of these rows.

Both processes run the edited file and get the same instructions.  Each process is scored on its answers for half of the
rows, and is the witness for the other half.  A witness gets a cut row: training text replaces the tokens from a random
position, the cut, to the end.  The loss just before the cut then shows what the model can predict without the tokens
that follow (:mod:`lookahead`).

Three rules make a channel between the two processes worthless:

- A row is first sent with its end cut off.  The whole row is sent only after both processes have answered the round
  with the cut row.  So when a witness answers, no process has seen how the row continues.
- Every call has whole and cut rows in random order, so a process cannot tell from the order which rows are cut.
- The text that replaces the end of a row is drawn without regard to this end.  So the replacement reveals nothing about
  the end, not even which token does not come next.  The rows that fill up a call are training text, like the
  replacement.  Therefore a process that remembers earlier questions has seen only the prefix of a row when it gets the
  cut row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autoresearch_mlx.trial.exchange import Tokens

PROCESSES = 2
LEAD = 2
"""Number of rounds between a cut row and the whole row: if round k has the cut row, round k + LEAD has the whole row.

LEAD is also the largest number of calls that wait for the answer of one process.
"""
_CALLS_A_PASS = 24
_LEAST_CALL = 4
"""Smallest number of rows in one call, if that many fit into the memory for a call."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Call:
    """One question to one process: the numbers of the ``rows`` [n], their ``cuts`` [n], and the inputs [n, seq_len].

    A row whose cut is ``seq_len`` is whole, and is scored.  ``counts`` [n] is False for rows that only fill up the
    call.
    """

    rows: Indices
    cuts: Indices
    counts: npt.NDArray[np.bool_]
    inputs: Tokens


@dataclass(frozen=True, slots=True)
class Plan:
    """The order of all rows, and the choices for each row, as arrays [n].

    For each row, ``scorer`` is the process that is scored on this row, and ``cuts`` is the row's cut.  ``tails`` is the
    number of the row of training text that replaces the end of this row.
    """

    order: Indices
    scorer: Indices
    cuts: Indices
    tails: Indices


def rows_per_call(row_count: int, seq_len: int, vocab_size: int, most_bytes: int = 128 * 2**20) -> int:
    """Return the number of rows in one call.

    The float32 logits of one call fit into ``most_bytes``, and an evaluation of many rows has at least 24 calls.
    """
    fit = most_bytes // (4 * seq_len * vocab_size)
    return max(1, min(fit, max(_LEAST_CALL, row_count // _CALLS_A_PASS)))


def draw_plan(row_count: int, tail_count: int, seq_len: int, size: int, rng: np.random.Generator) -> Plan:
    """Draw a plan for ``row_count`` rows and calls of ``size`` rows.

    Cuts are from 1 to seq_len - 1; a row of a single token cannot be cut, so its cut is 1.  ``tail_count`` is the
    number of rows of training text.
    """
    order = rng.permutation(row_count)
    scorer = np.empty(row_count, np.int64)
    for start in range(0, row_count, size):
        # Each process scores half of a chunk.  If a chunk has an odd number of rows, the processes take turns at the
        # larger half, so that chunks whose numbers differ by LEAD are split alike.  If they were not, the rows of a
        # round would not fit into the calls of that round.
        chunk = order[start : start + size]
        mine = (len(chunk) + (start // size) % LEAD) // 2
        scorer[chunk] = np.where(np.arange(len(chunk)) < mine, 0, 1)
    cuts = rng.integers(1, max(2, seq_len), size=row_count)
    return Plan(order, scorer, cuts, rng.integers(0, tail_count, size=row_count))


def calls(
    plan: Plan, inputs: Tokens, tails: npt.NDArray[Any], size: int, rng: np.random.Generator
) -> Iterator[tuple[Call, ...]]:
    """Yield the rounds: one call of ``size`` rows for each process.

    ``inputs`` are all rows to be scored, [n, seq_len]; ``tails`` are rows of training text, [m, seq_len or more].  Both
    processes must have answered round k - LEAD before round k begins.
    """
    chunks = [plan.order[start : start + size] for start in range(0, len(inputs), size)]
    nobody = plan.order[:0]
    for at in range(len(chunks) + LEAD):
        shown = chunks[at] if at < len(chunks) else nobody
        scored = chunks[at - LEAD] if at >= LEAD else nobody
        yield tuple(_call(plan, inputs, tails, size, shown, scored, process, rng) for process in range(PROCESSES))


def _call(
    plan: Plan,
    inputs: Tokens,
    tails: npt.NDArray[Any],
    size: int,
    shown: Indices,
    scored: Indices,
    process: int,
    rng: np.random.Generator,
) -> Call:
    seq_len = inputs.shape[1]
    whole = scored[plan.scorer[scored] == process]
    cut = shown[plan.scorer[shown] != process]
    rows = np.concatenate([whole, cut])
    cuts = np.concatenate([np.full(len(whole), seq_len), plan.cuts[cut]])
    fill = size - len(rows)
    others = np.concatenate([plan.tails[rows], rng.integers(0, len(tails), size=fill)])
    # A row that only fills up a call gets the number and the targets of row 0; its losses are not used.
    rows, counts = np.concatenate([rows, np.zeros(fill, np.int64)]), np.arange(size) < len(rows)
    cuts = np.concatenate([cuts, np.full(fill, seq_len)])
    keeps = (np.arange(seq_len) < cuts[:, None]) & counts[:, None]
    given = np.where(keeps, inputs[rows], tails[others][:, :seq_len]).astype(np.int32)
    mixed = rng.permutation(size)
    return Call(rows[mixed], cuts[mixed], counts[mixed], given[mixed])
