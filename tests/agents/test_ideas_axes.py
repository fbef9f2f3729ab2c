"""Axes: which won and lost, which are left alone for a while, and which is tried next."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from history_cases import FILES, context, lost, night, tried
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_mlx.agents.ideas.axes import (
    BAN,
    DECAY,
    FLOOR,
    STREAK,
    banned,
    choose_axis,
    coupled,
    known_axes,
    records,
)
from autoresearch_mlx.agents.ideas.idea import Idea
from autoresearch_mlx.experiment import Experiment, Measurement


def test_wins_losses_and_failures_fade_with_every_experiment_since() -> None:
    history = night(
        tried(1, "keep", "batch", 0.02),
        tried(2, "discard", "batch", -0.01),
        tried(3, "crash", "batch"),
        tried(4, "discard", "rope", 0.001),
    )
    batch = records(history)["batch"]
    assert batch.tries == 3 and batch.last == 3
    assert (batch.wins, batch.losses, batch.failures) == pytest.approx((DECAY**3, DECAY**2, DECAY))
    assert batch.mean_gain == pytest.approx((0.02 * DECAY**3 - 0.01 * DECAY**2) / (DECAY**3 + DECAY**2))
    assert list(records(history)) == ["batch", "rope"]


def test_what_was_never_run_to_its_end_says_nothing_of_an_axis() -> None:
    history = night(tried(1, "duplicate", "batch"), tried(2, "interrupted", "rope"), tried(3, "invalid", None))
    assert records(history) == {}
    assert records(night(tried(1, "timeout", "batch")))["batch"].mean_gain is None


def test_the_axis_is_the_knobs_where_one_well_known_knob_changed() -> None:
    history = night(
        tried(1, "keep", "something else", 0.1, knobs={"DEPTH": (4, 5)}), tried(2, "discard", "LR Matrix", 0)
    )
    assert list(records(history)) == ["depth", "lr_matrix"]


# --- bans


def test_an_axis_that_lost_four_times_running_rests_and_comes_back() -> None:
    history = night(*lost(1, STREAK, "rope"))
    last = STREAK
    assert banned(history, last + 1) == banned(history, last + BAN) == {"rope"}
    assert banned(history, last + BAN + 1) == frozenset()
    assert banned(night(*lost(1, STREAK - 1, "rope")), STREAK) == frozenset()


def test_failures_count_as_losses_and_a_keep_breaks_the_row() -> None:
    mixed = [tried(1, "crash", "rope"), tried(2, "timeout", "rope"), *lost(3, 2, "rope")]
    assert banned(night(*mixed), 5) == {"rope"}
    assert banned(night(*mixed[:2], tried(3, "keep", "rope", 0.1), *lost(4, 3, "rope")), 7) == frozenset()


def test_one_more_loss_after_a_ban_bans_again() -> None:
    history = night(*lost(1, STREAK, "rope"), *lost(40, 1, "rope"))
    assert banned(history, 41) == {"rope"}


def test_a_new_incumbent_on_a_coupled_axis_ends_the_ban() -> None:
    losses = lost(1, STREAK, "lr.matrix")
    assert banned(night(*losses, tried(5, "keep", "rope", 0.1)), 6) == {"lr.matrix"}
    freed = [*losses, tried(5, "keep", "batch", 0.1)]
    assert banned(night(*freed), 6) == frozenset()
    assert banned(night(*freed, *lost(6, STREAK - 1, "lr.matrix")), 9) == frozenset(), "a fresh row"
    assert banned(night(*freed, *lost(6, STREAK, "lr.matrix")), 10) == {"lr.matrix"}


def test_a_keep_counts_for_every_knob_it_changed() -> None:
    kept = tried(5, "keep", "rope", 0.1, knobs={"ROPE_BASE": (1, 2), "TOTAL_BATCH_SIZE": (8, 4)})
    assert banned(night(*lost(1, STREAK, "lr.matrix"), kept), 6) == frozenset()


@pytest.mark.parametrize(
    ("one", "other", "are"),
    [
        ("batch", "lr.matrix", True),
        ("depth", "width", True),
        ("lr.matrix", "lr.scalar", True),
        ("rope", "softcap", False),
        ("knob.a", "knob.b", False),
        ("knob.a", "knob.a", True),
        ("anything", "anything", True),
        ("anything", "batch", False),
    ],
)
def test_coupled_axes(one: str, other: str, are: bool) -> None:
    assert coupled(one, other) is coupled(other, one) is are


# --- the choice

KNOWN = ("batch", "depth", "lr.matrix", "rope", "softcap")


def choices(history_of: list[Experiment], numbers: int = 1500) -> Counter[str | None]:
    history = night(*history_of)
    first = len(history_of) + 1
    # Every number gets the same history; only the random draws differ, so the shares that are measured are the rule's.
    return Counter(choose_axis(KNOWN, history, seed, first) for seed in range(numbers))


def test_axes_that_nobody_tried_have_equal_chances() -> None:
    counts = choices([])
    assert set(counts) == set(KNOWN)
    assert all(abs(count / 1500 - 1 / len(KNOWN)) < 0.06 for count in counts.values())


def test_an_axis_that_wins_is_tried_more_and_one_that_loses_less() -> None:
    wins = [tried(n, "keep", "batch", 0.01) for n in (1, 2, 3)]
    counts = choices([*wins, *lost(4, 3, "rope")])
    assert counts["batch"] > counts["depth"] > counts["rope"]


@pytest.mark.slow
@pytest.mark.uncounted
def test_no_axis_that_is_free_falls_below_its_share_of_the_floor() -> None:
    winners = [tried(n, "keep", "batch", 0.01) for n in range(1, 40)]
    losers = [e for n in range(3) for e in lost(40 + 10 * n, 3, ("depth", "rope", "softcap")[n])]
    counts = choices([*winners, *losers])
    least = FLOOR / len(KNOWN)
    assert all(counts[axis] / 1500 > 0.6 * least for axis in KNOWN), counts


def test_a_banned_axis_is_not_chosen_while_another_is_free() -> None:
    history = night(*lost(1, STREAK, "rope"))
    chosen = {choose_axis(KNOWN, history, seed, STREAK + 1) for seed in range(400)}
    assert chosen == set(KNOWN) - {"rope"}
    assert choose_axis(("rope",), history, 1, STREAK + 1) == "rope", "when all are banned, none is"
    later = {choose_axis(KNOWN, history, seed, STREAK + BAN + 1) for seed in range(2000)}
    assert "rope" in later, "the ban has run out"


def test_nothing_known_nothing_chosen() -> None:
    assert choose_axis((), night(), 1, 1) is None


AXES = st.sampled_from([*KNOWN, "code", "", None, "Ünïcode axis", "seed"])
STATUSES = st.sampled_from(["keep", "discard", "crash", "timeout", "invalid", "duplicate", "interrupted"])
NIGHTS = st.lists(st.tuples(STATUSES, AXES, st.floats(-1, 1)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(NIGHTS, st.integers(0, 2**32), st.integers(1, 500))
def test_any_history_gives_a_known_axis_and_the_same_one_twice(
    events: list[tuple[str, str | None, float]], seed: int, number: int
) -> None:
    history = night(*[tried(n, s, a, g) for n, (s, a, g) in enumerate(events, 1)])  # type: ignore[arg-type]
    axis = choose_axis(KNOWN, history, seed, number)
    assert axis in KNOWN
    assert axis == choose_axis(tuple(reversed(KNOWN)), history, seed, number)
    for record in records(history).values():
        assert record.wins >= 0 and record.losses >= 0 and record.failures >= 0
        assert record.wins + record.losses + record.failures <= record.tries + 1e-9
    assert {record.axis for record in records(history).values()}.isdisjoint({"code", "seed", ""})


def test_known_axes_come_from_files_history_ideas_and_for_val_bpb_from_the_table() -> None:
    history = night(tried(1, "keep", "residual.gate", 0.1), metric="score")
    idea = Idea(1, "weight_tying", "tie", "", None, "you", "")
    known = known_axes(context(history), [idea])
    assert known == ("lr.matrix", "depth", "batch", "rope", "residual.gate", "weight_tying")
    with_table = known_axes(context(night(), files=FILES))
    assert with_table[:4] == known[:4] and "schedule.warmdown" in with_table
    assert not {"baseline", "seed", "code"} & set(with_table)


@pytest.mark.parametrize("losses", [1, STREAK, 3 * STREAK])
def test_answers_without_an_edit_are_no_tries_of_their_axis(losses: int) -> None:
    said = [replace(tried(n, "invalid", "batch"), measurements=(), value=None) for n in range(1, losses + 1)]
    history = night(*said)
    assert records(history) == {} and banned(history, losses + 1) == frozenset()


def test_an_edit_that_ran_and_was_invalid_is_a_try() -> None:
    ran = replace(tried(1, "invalid", "batch"), measurements=(Measurement(None, 42, "invalid", "no value"),))
    assert records(night(ran))["batch"].tries == 1
