"""Budget and batch of a calibrated machine: enough optimiser steps, by the smallest change that gives them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up_machines import calibrated, mac

from autoresearch_mlx.hardware.calibration import Calibration, Pace
from autoresearch_mlx.hardware.fit import batches, choose, fitted, other_head
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.profile import choose_profile

MAX = mac("M1 Max", 32, 64)
BASE = mac("M1", 8, 16)
CPU = Machine("Linux", "x86_64", "a server", 2, 2**34, None, None, "3.12.1", "0.32.4")


def chosen(machine: Machine, *step_seconds: float | None) -> tuple[float, int, int, str]:
    profile = choose_profile(machine)
    found = choose(profile, calibrated(machine, *step_seconds))
    assert fitted(profile, found).budget_seconds == found.budget_seconds
    return found.budget_seconds, found.knobs["TOTAL_BATCH_SIZE"], found.knobs["DEVICE_BATCH_SIZE"], found.words


def test_upstreams_five_minutes_stay_where_they_suffice() -> None:
    budget, tokens, rows, words = chosen(MAX, 0.3, 0.16)
    assert (budget, tokens, rows) == (300, 2**14, 8)
    assert words == "1,000 steps of 16,384 tokens in 5:00, 750 wanted: the profile's batch and budget stay"


def test_a_smaller_batch_comes_before_a_longer_run() -> None:
    budget, tokens, rows, words = chosen(MAX, 0.7, 0.36)
    assert (budget, tokens, rows) == (300, 2**13, 4)
    assert words.endswith("a smaller batch, since 16,384 tokens in passes of 8 rows gives only 428")


def test_no_batch_goes_below_the_smallest_that_ever_won() -> None:
    assert batches(choose_profile(BASE)) == ((4, 2**13), (2, 2**13), (1, 2**13))
    budget, tokens, _, words = chosen(BASE, 0.7, 0.75)
    assert (budget, tokens) == (540, 2**13)
    assert words == "only 428 steps of 8,192 tokens in 5:00, 750 wanted: a longer run, 9:00"


def test_a_run_gets_no_longer_than_was_seen_to_help() -> None:
    budget, _, _, words = chosen(BASE, 3.0)
    assert budget == 900
    assert words.endswith("the longest run, 15:00, with 300; the sizes of a smaller machine would fit better, "
                          "--hardware mac-8gb")  # fmt: skip


def test_a_batch_that_fails_gives_way() -> None:
    budget, tokens, rows, words = chosen(BASE, None, 0.3)
    assert (budget, tokens, rows) == (300, 2**13, 2)
    assert "passes of 4 rows failed ([metal::malloc] no memory)" in words


def test_without_a_timed_step_the_profile_stands() -> None:
    assert chosen(MAX, None, None)[:3] == (300, 2**14, 8)


def test_a_cpu_is_content_with_fewer_steps() -> None:
    assert chosen(CPU, 0.19)[:2] == (20, 2**11)
    assert chosen(CPU, 0.25)[:2] == (26, 2**11)


@pytest.mark.parametrize("machine", [MAX, BASE, CPU])
def test_every_batch_is_whole_passes(machine: Machine) -> None:
    profile = choose_profile(machine)
    assert all(tokens % (rows * profile.seq_len) == 0 for rows, tokens in batches(profile))


def with_head(ratio: float | None, *step_seconds: float | None) -> Calibration:
    """Return a calibration in which a step with heads of 64 takes ``ratio`` of the time; None means a failed run."""
    found = calibrated(MAX, *step_seconds)
    own = next((p for p in found.paces if p.seconds is not None), found.paces[0])
    seconds = None if ratio is None or own.seconds is None else ratio * own.seconds
    return replace(found, other_head=Pace(own.rows, own.tokens, 30, seconds, failure=None, head_dim=64))


def test_the_faster_head_size_is_chosen_and_the_steps_follow_from_it() -> None:
    found = choose(choose_profile(MAX), with_head(0.5, 0.7, 0.36))
    assert (found.knobs["HEAD_DIM"], found.knobs["TOTAL_BATCH_SIZE"]) == (64, 2**14)
    assert found.words == (
        "857 steps of 16,384 tokens in 5:00, 750 wanted: the profile's batch and budget stay; "
        "heads of 64: 0.50 of the time of 128"
    )


@pytest.mark.parametrize("ratio", [0.98, 1.0, 1.4, None])
def test_a_head_size_that_is_no_faster_than_noise_changes_nothing(ratio: float | None) -> None:
    plain, found = calibrated(MAX, 0.7, 0.36), with_head(ratio, 0.7, 0.36)
    assert choose(choose_profile(MAX), found) == choose(choose_profile(MAX), plain)


def test_the_other_head_size_is_compared_at_the_batch_at_which_it_was_timed() -> None:
    found = with_head(0.8, None, 0.3)
    assert found.head_ratio() == pytest.approx(0.8)
    assert choose(choose_profile(MAX), found).knobs["HEAD_DIM"] == 64


def test_the_other_head_size_is_timed_on_a_gpu_where_the_model_keeps_its_width() -> None:
    profile = choose_profile(MAX)
    assert other_head(profile) == 64
    assert other_head(replace(profile, knobs={**profile.knobs, "HEAD_DIM": 64})) == 128
    narrow = {**profile.knobs, "HEAD_DIM": 64, "DEPTH": 3, "ASPECT_RATIO": 64}  # 192 wide: no whole heads of 128
    assert other_head(replace(profile, knobs=narrow)) is None
    assert other_head(choose_profile(CPU)) is None
