"""Check that a score means what it says, with a witness: a second, fresh process that runs the same model.

The witness answers few questions, in calls of the same shape, and never learns what the scored process was asked:

    repeat      one whole call of the scored pass again; finds hidden state, randomness, learning from scored rows
    rows        single rows of the pass, at another place among other rows; finds dependence on the batch
    causality   rows of the pass whose end, from a random position on, is another row's; finds look-ahead

The losses (in nats) of the true targets are compared with the scored ones, so only differences that change a score
count.  The scorer draws rows and positions at random: the model can tell a check from a scored row neither by shape nor
by tokens, and the witness cannot answer from memory because it has not seen the pass.

A single loss may differ by ``largest`` nats, and the mean over n tokens by 4 x noise / sqrt(n): four standard errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autoresearch_mlx.trial.exchange import Invalid, Tokens
from autoresearch_mlx.trial.scoring import Nats

_LEAST = 8
_ONE_IN = 24
"""How many rows are checked: one in 24, and at least 8."""
_LEAST_CALL = 4
"""Least number of rows of a call, where memory allows."""
_EVERY_COPY = 4
"""Every fourth row of a mixed call is an unchanged copy; the others end as another row does."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two losses that should be equal may differ, in nats."""

    largest: float
    noise: float
    """Standard deviation of the rounding error of one loss."""

    def of_mean(self, count: int) -> float:
        """Return how far the mean of ``count`` losses may differ."""
        return 4 * self.noise / math.sqrt(max(1, count))


TOLERANCES = {
    "float32": Tolerance(0.01, 0.001),
    "float16": Tolerance(0.1, 0.01),
    "bfloat16": Tolerance(0.5, 0.03),
}
"""Tolerances by the coarsest number type in which the model may have computed."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What the witness is asked: one call of the rows ``again``, then calls of the ``mixed`` rows."""

    again: Indices
    """Indices of the rows of one call of the pass, which are asked for again."""
    mixed: Indices
    """Index of the row of the pass that each mixed row begins with, [m]."""
    cuts: Indices
    """Position at which another row's end begins, [m]; seq_len for an unchanged copy."""
    inputs: Tokens
    """The mixed rows themselves, [m, seq_len]."""


def rows_per_call(row_count: int, seq_len: int, vocab_size: int, most_bytes: int = 128 * 2**20) -> int:
    """Return the number of rows of one call.

    Their float32 logits stay below ``most_bytes``, and a long pass has at least 24 calls, so that repeating one of them
    costs the witness little.
    """
    fit = most_bytes // (4 * seq_len * vocab_size)
    return max(1, min(fit, max(_LEAST_CALL, row_count // _ONE_IN)))


def draw_questions(inputs: Tokens, size: int, rng: np.random.Generator) -> Questions:
    """Draw the witness's questions about a pass over ``inputs`` [n, seq_len] in calls of ``size`` rows.

    The repeated call comes from the second half of the pass, where a model that learns from scored rows has seen most.
    """
    count, seq_len = inputs.shape
    first = size * int(rng.integers(count // size // 2, count // size)) if count >= size else 0
    wanted = max(_LEAST, count // _ONE_IN)
    mixed = rng.choice(count, size=-(-wanted // size) * size, replace=count < wanted + size)
    cuts = np.full(len(mixed), seq_len, np.int64)
    if seq_len > 1:
        spliced = np.arange(len(mixed)) % _EVERY_COPY != 0
        cuts[spliced] = rng.integers(1, seq_len, size=int(spliced.sum()))
    rows = np.stack([_spliced(inputs, int(row), int(cut), rng) for row, cut in zip(mixed, cuts, strict=True)])
    turned = rng.permutation(len(mixed))
    return Questions(np.arange(first, min(first + size, count)), mixed[turned], cuts[turned], rows[turned])


def _spliced(inputs: Tokens, row: int, cut: int, rng: np.random.Generator) -> Tokens:
    """Return the row up to ``cut``, continued by the end of another row whose token at ``cut`` differs."""
    mine: Tokens = inputs[row].copy()
    if cut == len(mine):
        return mine
    others = np.flatnonzero(inputs[:, cut] != mine[cut])
    if len(others):
        mine[cut:] = inputs[int(rng.choice(others)), cut:]
    else:
        mine[cut] = int(mine[cut]) ^ 1
    return mine


def check(asked: Questions, scored: Nats, again: Nats, mixed: Nats, tolerance: Tolerance) -> None:
    """Compare the witness's losses with those of the pass, ``scored`` [n, seq_len].

    ``again`` [k, seq_len] and ``mixed`` [m, seq_len] are the witness's losses of the two kinds of questions.  Raises
    Invalid with the name of the check that failed.
    """
    _same(again - scored[asked.again], tolerance, "repeat: a fresh process gives other logits for the same rows")
    difference = mixed - scored[asked.mixed]
    seq_len = scored.shape[1]
    copies = asked.cuts == seq_len
    _same(difference[copies], tolerance, "rows: the logits of a row depend on the other rows of a batch")
    if copies.all():
        return
    cuts = asked.cuts[~copies]
    before = np.arange(seq_len) < cuts[:, None]
    words = "causality: later tokens change earlier logits"
    _same(difference[~copies][before], tolerance, words)
    _same(difference[~copies][np.arange(len(cuts)), cuts - 1], tolerance, f"{words}, just before they begin")


def _same(difference: npt.NDArray[Any], tolerance: Tolerance, what: str) -> None:
    """Raise Invalid when differences exceed the tolerance; NaN is left out, ``check_finite`` has judged such losses."""
    finite = difference[~np.isnan(difference)]
    if not finite.size:
        return
    largest, mean = float(np.abs(finite).max()), abs(float(finite.mean(dtype=np.float64)))
    if largest > tolerance.largest:
        raise Invalid(f"{what} (one loss by {largest:.4g} nats, and {tolerance.largest:.4g} are allowed)")
    if mean > (allowed := tolerance.of_mean(finite.size)):
        raise Invalid(f"{what} (on average by {mean:.4g} nats, and {allowed:.4g} are allowed)")
