"""Measure on every row what a score gains by looking ahead, and remove that gain from the score.

To predict the next token at a position, a model must not use the tokens that follow.  Each row is cut at one position,
and the model is asked twice: for the whole row, and for the row with other text from the cut on.  So the token at the
cut has two losses: ``scored``, from the whole row, and ``witnessed``, from the cut row.  The difference of these two
losses is what the model gained from the tokens that follow.

The cut is drawn uniformly from the positions of a row.  So the difference times the number of positions is an unbiased
estimate of the row's gain, even if the model looks ahead at only some positions.  This estimate is added to the score,
so that looking ahead gains nothing on average.

If the replacement happens to begin with the true token, the cut shows nothing.  So each difference is divided by the
probability that the replacement begins with another token (inverse probability weighting; Horvitz and Thompson,
1952).

For an honest model, the two losses differ only by rounding.  Differences far beyond rounding make the measurement
invalid.  Such differences also arise when a model keeps state between calls, or when a row's logits depend on the other
rows of a call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoresearch_mlx.trial.exchange import Invalid, Tokens
from autoresearch_mlx.trial.scoring import Nats

Floats = npt.NDArray[np.float64]
Losses = Nats | Floats


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The largest differences, in nats, that rounding can cause between two losses of one target."""

    largest: float
    noise: float
    """Standard deviation of the rounding error of one loss."""

    def of_mean(self, count: int) -> float:
        return 4 * self.noise / math.sqrt(max(1, count))


TOLERANCES = {
    "float32": Tolerance(0.01, 0.001),
    "float16": Tolerance(0.1, 0.01),
    "bfloat16": Tolerance(0.5, 0.03),
}
"""Number type of the weights or logits -> tolerance."""


@dataclass(frozen=True, slots=True)
class Gain:
    """The gain from looking ahead, in nats over all rows, and its standard error."""

    nats: float
    error: float


def gain(
    scored: Losses, witnessed: Losses, targets: Tokens, cuts: npt.NDArray[np.int64], counted: npt.NDArray[np.bool_]
) -> Gain:
    """Estimate the gain from the two losses of each target.

    ``scored``, ``witnessed``, ``targets`` and ``counted`` are arrays [n, seq_len]; ``cuts`` [n] has each row's cut.
    ``witnessed`` has losses only before the cuts.  ``counted`` says whether a target counts in the score.  The gain is
    0 for rows of one token, where no position can look ahead.
    """
    count, seq_len = scored.shape
    if seq_len < 2 or not count:
        return Gain(0.0, 0.0)
    rows, before = np.arange(count), cuts - 1
    target = targets[rows, before]
    gained = np.where(counted[rows, before], (witnessed - scored)[rows, before].astype(np.float64), 0.0)
    gained *= (seq_len - 1) / (1 - _share_of(target, targets))
    error = float(gained.std(ddof=1)) * math.sqrt(count) if count > 1 else abs(float(gained[0]))
    return Gain(float(gained.sum()), error)


def _share_of(tokens: npt.NDArray[np.int32], targets: Tokens) -> Floats:
    """Return for each token the probability that a replacement begins with this token.

    The probability is the token's share of the text, at most 1/2.
    """
    found = np.bincount(targets.ravel())
    return np.minimum(found[tokens] / targets.size, 0.5)


def check(scored: Losses, witnessed: Losses, cuts: npt.NDArray[np.int64], tolerance: Tolerance) -> None:
    """Compare the two losses of each target before the cut.  Raises Invalid if rounding does not explain a difference.

    A difference only at the last position before the cut comes from looking ahead by one token.  A difference at an
    earlier position may also come from state that the model keeps, or from other rows of the call.
    """
    seq_len = scored.shape[1]
    if seq_len < 2:
        return
    difference = (witnessed - scored).astype(np.float64)
    _same(
        difference[np.arange(len(cuts)), cuts - 1],
        tolerance,
        "causality: the loss of a token changes when the tokens after it are replaced",
    )
    earlier = np.arange(seq_len) < cuts[:, None] - 1
    _same(
        difference[earlier],
        tolerance,
        "rows: the loss of a token changes with later tokens, with the other rows of a call, or from call to call",
    )


def _same(difference: Floats, tolerance: Tolerance, what: str) -> None:
    # Targets of weight 0 may have any loss; the losses of all other targets were checked.
    finite = difference[np.isfinite(difference)]
    if not finite.size:
        return
    largest, mean = float(np.abs(finite).max()), abs(float(finite.mean()))
    if largest > tolerance.largest:
        raise Invalid(f"{what} (one loss by {largest:.4g} nats, and {tolerance.largest:.4g} is allowed)")
    if mean > (allowed := tolerance.of_mean(finite.size)):
        raise Invalid(f"{what} (on average by {mean:.4g} nats, and {allowed:.4g} is allowed)")
