"""The reports and keeps of the judge while other programs slow the machine, on simulated nights."""

from __future__ import annotations

from functools import lru_cache
from statistics import fmean

import pytest

from bench.slow_machine import WAYS, Seen, night

pytestmark = pytest.mark.uncounted

NIGHTS = 60
SLOW = [way.name for way in WAYS if way.name != "quiet"]


@lru_cache
def nights(name: str, told: bool = True, common: float = 0.8) -> list[Seen]:
    way = next(way for way in WAYS if way.name == name)
    return [night(way, told, number, common) for number in range(NIGHTS)]


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_of_twelve_edits_without_effect_hardly_ever_two_are_reported_beyond_three_sigma(name: str) -> None:
    assert fmean(n.beyond > 1 for n in nights(name)) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_edits_without_effect_are_kept_about_as_rarely_as_on_a_quiet_machine(name: str) -> None:
    assert fmean(n.kept for n in nights(name)) <= fmean(n.kept for n in nights("quiet")) + 0.15


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.slow
def test_real_wins_and_losses_are_found_all_the_same(name: str) -> None:
    assert fmean(n.wins for n in nights(name)) / 3 >= 0.9
    assert fmean(n.losses for n in nights(name)) / 3 >= 0.98


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_machine_is_no_drift(name: str) -> None:
    assert fmean(n.regimes for n in nights(name)) <= 0.05


def test_without_the_speed_the_same_rules_fail() -> None:
    """Without the speed, the rules report most edits without effect as losses, and find no win."""
    blind = nights("new each run", told=False)
    assert fmean(n.beyond for n in blind) > 3
    assert fmean(n.wins for n in blind) / 3 < 0.2
