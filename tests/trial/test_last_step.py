"""The last step of a budget of seconds is not begun if it cannot end in time, and named if it was too long."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.meter import ByClock

WEIGHTS = Path("weights.safetensors")


def trained(clock: ByClock, step: float, ahead: bool) -> float:
    """Return when a script's last step ends, in seconds of the budget.

    With ``ahead`` it asks for a batch one step earlier, as a script does while MLX still computes.
    """
    asks, ends, known = [0.0], [step], 0
    while True:
        asked = ends[-2] if ahead and len(ends) > 1 else (0.0 if ahead else ends[-1])
        known += 1
        if clock.ended(max(asked, 1e-9), 0, step if known > 1 else 0.0):
            return ends[-1]
        asks.append(asked)
        ends.append(ends[-1] + step)


@pytest.mark.parametrize("ahead", [False, True], ids=["step by step", "ahead"])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.04, 0.06, 0.09, 0.13, 0.2, 0.25, 0.3, 0.33])
def test_no_step_ends_more_than_a_tenth_late(share: float, ahead: bool, under: Conditions) -> None:
    clock = ByClock(replace(under, steps=None, budget_seconds=20.0))
    ends = trained(clock, 20.0 * share, ahead)
    assert ends <= 20.0 * 1.1 + 1e-6
    assert ends >= 20.0 * (0.97 if share < 0.05 else 1 - 2 * share)
    assert clock.fault(ends, {"refused": True, "step_seconds": 20.0 * share}, WEIGHTS) is None


def test_a_step_that_is_too_long_is_named_with_the_next_step(under: Conditions) -> None:
    clock = ByClock(replace(under, steps=None, budget_seconds=20.0))
    said = clock.fault(25.0, {"refused": True, "step_seconds": 7.1}, WEIGHTS)
    assert said == (
        "training went on for 5.0 s after its budget of 20 s: a step takes 7.1 s; make a step smaller "
        "(TOTAL_BATCH_SIZE in train_mlx.py), or raise [budget] seconds in lab.toml"
    )
    assert clock.fault(25.0, {"refused": True, "step_seconds": 0.1}, WEIGHTS) == (
        "training went on for 5.0 s after its budget of 20 s"
    )
    assert "if one step takes that long, make a step smaller" in str(clock.overstayed(31.0))
