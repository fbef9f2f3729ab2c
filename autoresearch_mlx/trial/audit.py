"""Audit a score that is too good to be believed: evaluate once more, slower and with fewer assumptions.

    python -P -m autoresearch_mlx.trial.audit SPEC

- The two model processes run one after the other.  The witness, which gets the cut rows, answers all questions and ends
  before the scored process starts.  So the two processes cannot exchange messages.
- Each row is cut at several positions, and the witness gets the shortest prefix first.  So a witness that remembers
  earlier questions has not yet seen the tokens that it must predict.  Training text replaces the text after the cut.
- All arithmetic is in float64, on all rows.
- New random samples of other rows are scored in the same calls as the validation rows.  A model that knows the
  validation rows by heart has no advantage on the other rows.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoresearch_mlx.trial.cuts import Indices
from autoresearch_mlx.trial.evaluator import found_or_told, pairs, tolerance
from autoresearch_mlx.trial.exchange import Frame, Invalid, Respondent, Tokens
from autoresearch_mlx.trial.lookahead import check, gain
from autoresearch_mlx.trial.scoring import bits_per_byte, score_wide
from autoresearch_mlx.trial.spec import EVENTS_ENV, EvalSpec, Events, read_eval_spec

CUTS = 3
"""Number of cuts of each row."""
VALIDATION, TRAINING = "validation", "training"
"""Names of two sets of rows: the rows that scored the run, and the training rows, which replace ends of cut rows."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """The result of an audit on one set of rows."""

    value: float
    """Bits per byte, corrected for looking ahead."""
    error: float
    """Standard error of ``value``, if ``value`` is taken as an estimate for all text of the same kind."""
    nats: float
    """Mean loss in nats over the tokens that count."""
    lookahead: float
    lookahead_error: float
    rows: Floats
    """Array [2, n] with two numbers for each row: its loss in bits, and its length in bytes."""


def main(spec_path: str) -> None:
    spec, events = read_eval_spec(spec_path), Events()
    os.environ.pop(EVENTS_ENV, None)
    found = found_or_told(audit, spec, events) or {}
    if spec.rows_out and found:
        np.savez(spec.rows_out, allow_pickle=False, **{name: each.rows for name, each in found.items()})
    for name, each in found.items():
        events.send("audited", rows=name, value=each.value, error=each.error, nats=each.nats,
                    lookahead=each.lookahead, lookahead_error=each.lookahead_error)  # fmt: skip


def audit(spec: EvalSpec) -> dict[str, Found]:
    """Score each set of rows and return the results by the name of the set.  Raises Invalid, Died, Hung."""
    rng = np.random.default_rng(int.from_bytes(os.urandom(16)))
    inputs, targets, sets = _rows(spec, np.random.default_rng(spec.draw))
    weight = np.load(spec.token_bytes, allow_pickle=False)
    seq_len = spec.seq_len
    # The cuts are sorted, so that the first round shows each row's shortest prefix.
    cuts = np.sort(rng.integers(1, max(2, seq_len), size=(CUTS, len(inputs))), axis=0)
    frame = Frame(spec.rows_per_call, seq_len, spec.vocab_size)
    types: set[str] = set()
    with Respondent(spec.models[0], spec.environments[0], frame) as witness:
        witnessed = [
            _losses(witness, _cut(inputs, at, spec, rng), targets, np.minimum(at, seq_len), spec, rng, types)
            for at in cuts
        ]
    with Respondent(spec.models[1], spec.environments[1], frame) as model:
        whole = np.full(len(inputs), seq_len)
        scored = _losses(model, inputs, targets, whole, spec, rng, types)
    counted = weight[targets] > 0
    if not np.isfinite(scored[counted]).all():
        raise Invalid("finite: the logits give no finite loss for some tokens")
    for at, losses in zip(cuts, witnessed, strict=True):
        if not np.isfinite(losses[counted & (np.arange(seq_len) < at[:, None])]).all():
            raise Invalid("finite: the logits give no finite loss for some tokens of cut rows")
        check(np.where(counted, scored, np.nan), losses, at, tolerance(types, spec))
    return {
        name: _found(scored[rows], [losses[rows] for losses in witnessed], cuts[:, rows], targets[rows], weight)
        for name, rows in sets.items()
    }


def _rows(spec: EvalSpec, rng: np.random.Generator) -> tuple[Tokens, Tokens, dict[str, slice]]:
    """Return all inputs, all targets, and the slice of each set of rows in these two arrays.

    The sets are the validation rows and the random samples, which ``rng`` draws.
    """
    parts, sets, end = [pairs(spec)], {VALIDATION: slice(0, spec.row_count)}, spec.row_count
    for name, path in spec.samples.items():
        every = np.load(path, mmap_mode="r", allow_pickle=False)
        drawn = every[np.sort(rng.choice(len(every), min(len(every), spec.row_count), replace=False))].astype(np.int32)
        parts.append((drawn[:, :-1], drawn[:, 1:]))
        sets[name] = slice(end, end + len(drawn))
        end += len(drawn)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]), sets


def _cut(inputs: Tokens, cuts: Indices, spec: EvalSpec, rng: np.random.Generator) -> Tokens:
    """Return the inputs with everything from the cut on replaced by training text.

    If there is no training text, random rows of ``inputs`` are used instead.
    """
    path = spec.samples.get(TRAINING)
    text = inputs if path is None else np.load(path, mmap_mode="r", allow_pickle=False)
    tails = text[rng.integers(0, len(text), size=len(inputs))][:, : spec.seq_len].astype(np.int32)
    return np.where(np.arange(spec.seq_len) < cuts[:, None], inputs, tails).astype(np.int32)


def _losses(
    model: Respondent, inputs: Tokens, targets: Tokens, cuts: Indices, spec: EvalSpec, rng: np.random.Generator,
    types: set[str],
) -> Floats:  # fmt: skip
    """Return the losses [n, seq_len] of the rows, which the model gets in random order.  Raises Invalid, Died, Hung.

    The number types of the logits are added to ``types``.  After its cut, a row's targets are the next tokens of the
    replaced text.
    """
    found = np.empty(targets.shape, np.float64)
    wanted = np.where(
        np.arange(spec.seq_len) < cuts[:, None], targets, np.concatenate([inputs[:, 1:], inputs[:, -1:]], axis=1)
    )
    order, size = rng.permutation(len(inputs)), spec.rows_per_call
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        asked = np.resize(rows, size)  # every call has the same shape
        model.ask(inputs[asked])
        answer = model.answer(spec.answer_seconds)
        nats = score_wide(answer.bits, answer.logits, wanted[asked])
        if np.isnan(nats).any():
            raise Invalid("finite: some logits are NaN or infinite")
        types.add(answer.logits)
        found[rows] = nats[: len(rows)]
    return found


def _found(scored: Floats, witnessed: Sequence[Floats], cuts: Indices, targets: Tokens, weight: Indices) -> Found:
    counted = weight[targets] > 0
    kept = np.where(counted, scored, 0.0)
    gains = [gain(scored, losses, targets, at, counted) for at, losses in zip(cuts, witnessed, strict=True)]
    ahead = bits_per_byte(float(np.mean([each.nats for each in gains])), targets, weight)
    # The cuts of one row are not independent, so their errors are averaged, which errs on the large side.
    ahead_error = bits_per_byte(float(np.mean([each.error for each in gains])), targets, weight)
    value = bits_per_byte(float(kept.sum()), targets, weight)
    size = weight[targets].sum(axis=1)
    left = kept.sum(axis=1) - value * math.log(2) * size
    spread = float(left.std(ddof=1)) * math.sqrt(len(left)) if len(left) > 1 else abs(value)
    error = bits_per_byte(spread, targets, weight)
    nats = float(kept.sum() / max(1, counted.sum()))
    rows = np.stack([kept.sum(axis=1) / math.log(2), size.astype(np.float64)])
    return Found(value + ahead, math.hypot(error, ahead_error), nats, ahead, ahead_error, rows)


if __name__ == "__main__":
    main(sys.argv[1])
