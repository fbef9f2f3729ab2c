"""Error rates of the rule for a fleet on a few simulated nights; ``python -m bench.fleet`` prints the whole table."""

from __future__ import annotations

from functools import lru_cache
from statistics import fmean

import pytest

from bench.fleet import OURS, RULES, nights, share
from bench.simulated_fleet import WORLDS, Fleet

NIGHTS = 12


@lru_cache
def simulated(rule: str) -> list[Fleet]:
    return nights(WORLDS[0], RULES[rule], NIGHTS, 240)


@pytest.mark.slow
def test_at_most_one_keep_in_ten_is_no_better_than_what_it_replaced() -> None:
    false, _ = share(simulated(OURS), lambda change: float(change.effects.mean()) <= 0)
    assert false <= 0.1


@pytest.mark.slow
def test_a_raw_list_of_several_machines_keeps_what_is_worse_and_misses_what_is_better() -> None:
    false, _ = share(simulated("one list of raw values"), lambda change: float(change.effects.mean()) <= 0)
    ours, raw = (fmean(night.gain for night in simulated(rule)) for rule in (OURS, "one list of raw values"))
    assert false > 0.15 and ours > 1.3 * raw


@pytest.mark.slow
def test_every_rule_spends_the_same_runs() -> None:
    assert {night.taken for rule in (OURS, "same, second gains too") for night in simulated(rule)} == {240}
