"""What makes a score meaningful, checked by a witness: a second, fresh process with the same model.

The witness is asked little, in calls of the same shape, and never learns what the scored process was asked:

    repeat      one whole call of the pass again: hidden state, randomness, learning from the rows that are scored
    rows        single rows of the pass, elsewhere in a call and among other rows: dependence on the batch
    causality   rows of the pass whose tail, from a random position on, is that of another row: look-ahead

Compared are the nats of the true targets against those that were scored, so that only differences that a score
can feel count.  Which rows and positions is random, and chosen by the scorer: the model can tell a probe from a
scored row neither by its shape nor by its tokens, and cannot answer from memory, because its memory is empty.

A mean difference over n tokens may be 4 x noise / sqrt(n), and a single one ``largest`` nats.
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
"""Rows that are probed: at least 8, and one in 24."""
_LEAST_CALL = 4
"""Rows of a call, where the memory allows."""
_EVERY_COPY = 4
"""Every fourth row of a mixed call is a copy, the others have another tail."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Nats by which two losses that should be equal may differ."""

    largest: float
    noise: float
    """Rounding error of one loss: a standard deviation."""

    def of_mean(self, count: int) -> float:
        return 4 * self.noise / math.sqrt(max(1, count))


TOLERANCES = {
    "float32": Tolerance(0.01, 0.001),
    "float16": Tolerance(0.1, 0.01),
    "bfloat16": Tolerance(0.5, 0.03),
}
"""By the coarsest type in which the model may have computed."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What the witness is asked: one call of ``again``, then calls of ``mixed`` rows."""

    again: Indices
    """Rows of one call of the pass."""
    mixed: Indices
    """Row of the pass from which each mixed row comes."""
    cuts: Indices
    """Where another row's tail begins; seq_len for a copy."""
    inputs: Tokens
    """The mixed rows themselves [m, seq_len]."""


def rows_per_call(row_count: int, seq_len: int, vocab_size: int, most_bytes: int = 128 * 2**20) -> int:
    """So many that their float32 logits stay below ``most_bytes``, and that a long pass has 24 calls or more."""
    fit = most_bytes // (4 * seq_len * vocab_size)
    return max(1, min(fit, max(_LEAST_CALL, row_count // _ONE_IN)))


def draw_questions(inputs: Tokens, size: int, rng: np.random.Generator) -> Questions:
    """``inputs``: those of the pass [n, seq_len], in calls of ``size`` rows."""
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
    """The row up to ``cut``, then another one's tail, which begins with another token."""
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
    """Compare the witness's losses with the pass's [n, seq_len].  Raises Invalid with the name of the probe."""
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
    """Losses that are not finite on both sides count for nothing here: they were judged before."""
    finite = difference[~np.isnan(difference)]
    if not finite.size:
        return
    largest, mean = float(np.abs(finite).max()), abs(float(finite.mean(dtype=np.float64)))
    if largest > tolerance.largest:
        raise Invalid(f"{what} (a loss by {largest:.4g} nats, allowed {tolerance.largest:.4g})")
    if mean > (allowed := tolerance.of_mean(finite.size)):
        raise Invalid(f"{what} (on average by {mean:.4g} nats, allowed {allowed:.4g})")
