"""How much a score gained by looking ahead, and which differences are more than rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from autoresearch_mlx.trial.exchange import Invalid
from autoresearch_mlx.trial.lookahead import TOLERANCES, check, gain

ROWS, LENGTH, VOCAB = 64, 40, 50


@dataclass(frozen=True)
class Text:
    """Honest losses [n, seq_len] of a made-up model, and their targets."""

    targets: npt.NDArray[np.int32]
    nats: npt.NDArray[np.float32]
    counted: npt.NDArray[np.bool_]


def text(rng: np.random.Generator, rows: int = ROWS) -> Text:
    # Tokens as common as in real text: the likeliest has some 20 %, so a random tail often begins with the true one.
    shares = 1 / np.arange(1, VOCAB + 1)
    targets = rng.choice(VOCAB, size=(rows, LENGTH), p=shares / shares.sum()).astype(np.int32)
    return Text(targets, rng.gamma(2, 1.3, targets.shape).astype(np.float32), np.ones(targets.shape, np.bool_))


def looks_ahead(one: Text, rate: float, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], ...]:
    """Return the losses of a model that cheats: at a share of the positions it copies the next token from its input.

    If the model recognises the replaced tail, it predicts honestly there, which is the best that it can do.  If the
    tail begins with the true token by chance, the model has that token too.
    """
    ahead = rng.random(one.nats.shape) < rate
    ahead[:, -1] = False  # no input shows the last target
    scored = np.where(ahead, 0.0, one.nats).astype(np.float32)
    cuts = rng.integers(1, LENGTH, size=len(scored))
    rows, before = np.arange(len(scored)), cuts - 1
    witnessed = scored.copy()
    drawn = rng.permutation(one.targets.ravel())[: len(rows)]
    seen_through = drawn != one.targets[rows, before]
    witnessed[rows, before] = np.where(seen_through, one.nats[rows, before], scored[rows, before])
    return scored, witnessed, cuts


@pytest.mark.parametrize("rate", [0.01, 0.04, 0.2, 1.0])
def test_looking_ahead_gains_nothing_on_average(rate: float) -> None:
    """The expected corrected score is the honest one, within the standard error of one evaluation."""
    rng = np.random.default_rng(round(1000 * rate))
    off, errors = [], []
    for _ in range(400):
        one = text(rng)
        scored, witnessed, cuts = looks_ahead(one, rate, rng)
        found = gain(scored, witnessed, one.targets, cuts, one.counted)
        off.append(float(scored.sum() - one.nats.sum()) + found.nats)
        errors.append(found.error)
    assert abs(np.mean(off)) < 3 * np.std(off) / np.sqrt(len(off)), "no bias that 400 evaluations could show"
    assert abs(np.mean(off)) < 0.2 * np.sqrt(np.mean(np.square(errors))), "within one standard error, with room"
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(off), rel=0.35), "the error tells the spread"


def test_copying_the_next_token_blindly_costs_more_than_it_gains() -> None:
    """A model that believes the replaced tail is wrong there, and its corrected score is worse than the honest one."""
    rng = np.random.default_rng(5)
    one = text(rng)
    _, _, cuts = looks_ahead(one, 0.0, rng)
    scored, rows = np.zeros_like(one.nats), np.arange(ROWS)
    scored[:, -1] = one.nats[:, -1]
    witnessed = scored.copy()
    witnessed[rows, cuts - 1] = 20.0
    found = gain(scored, witnessed, one.targets, cuts, one.counted)
    assert float(scored.sum()) + found.nats > float(one.nats.sum())


def test_an_honest_model_gains_nothing_and_has_no_error() -> None:
    rng = np.random.default_rng(1)
    one = text(rng)
    scored, witnessed, cuts = looks_ahead(one, 0.0, rng)
    found = gain(scored, witnessed, one.targets, cuts, one.counted)
    assert (found.nats, found.error) == (0.0, 0.0)
    rounded = witnessed + rng.normal(0, 1e-6, witnessed.shape).astype(np.float32)
    found = gain(scored, rounded, one.targets, cuts, one.counted)
    assert abs(found.nats) < 1e-5 * one.nats.sum() and found.error < 1e-5 * one.nats.sum()


def test_targets_that_weigh_nothing_gain_nothing() -> None:
    rng = np.random.default_rng(2)
    one = text(rng)
    scored, witnessed, cuts = looks_ahead(one, 1.0, rng)
    assert gain(scored, witnessed, one.targets, cuts, ~one.counted).nats == 0


def test_rows_of_one_token_cannot_look_ahead() -> None:
    nats, targets, cuts = np.ones((4, 1), np.float32), np.zeros((4, 1), np.int32), np.ones(4, np.int64)
    assert gain(nats, nats, targets, cuts, np.ones((4, 1), np.bool_)).nats == 0
    check(nats, nats, cuts, TOLERANCES["float32"])


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_rounding_passes_and_a_small_shift_of_all_losses_does_not(dtype: str) -> None:
    tolerance, rng = TOLERANCES[dtype], np.random.default_rng(3)
    for _ in range(30):
        one = text(rng)
        scored, witnessed, cuts = looks_ahead(one, 0.0, rng)
        noisy = (witnessed + rng.normal(0, tolerance.noise / 2, witnessed.shape)).astype(np.float32)
        check(scored, noisy, cuts, tolerance)
        with pytest.raises(Invalid, match=r"rows: .*on average"):
            check(
                scored,
                noisy + np.float32(0.7 * tolerance.noise) * (np.arange(LENGTH) < cuts[:, None] - 1),
                cuts,
                tolerance,
            )


def test_one_large_difference_is_enough_and_what_follows_the_cut_may_differ() -> None:
    rng = np.random.default_rng(4)
    one = text(rng)
    scored, witnessed, cuts = looks_ahead(one, 0.0, rng)
    witnessed[np.arange(LENGTH) >= cuts[:, None]] = 99
    check(scored, witnessed, cuts, TOLERANCES["float32"])
    witnessed[7, cuts[7] - 1] += 0.02
    with pytest.raises(Invalid, match=r"causality: .*one loss by 0.02 nats, and 0.01 is allowed"):
        check(scored, witnessed, cuts, TOLERANCES["float32"])
