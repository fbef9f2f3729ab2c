"""The loop is killed right before each of its effects: in a keep, in a discard, and in a lab's very first run."""

from __future__ import annotations

from pathlib import Path

import pytest
from torture.conftest import Toll
from torture.labs import BETTER, SPREAD, TURNS, WORSE, die_at, run, torture_lab

from autoresearch_mlx.lab.lab import Lab

pytestmark = pytest.mark.uncounted

PARTS = 4


def boundaries(lab: Lab, *options: str) -> int:
    """Return the number of effects of a ``run`` with these options."""
    died, effects = die_at(lab, 0, *options)
    assert not died and len(effects) > 30
    return len(effects)


def walk(lab: Lab, toll: Toll, at: list[int], *options: str) -> None:
    for effect in at:
        died, effects = die_at(lab, effect, *options)
        if died:
            toll.after(lab, f"effect {effect} of {options}, before {effects[-1]}")


@pytest.mark.slow
@pytest.mark.parametrize("researcher", [BETTER, WORSE])
def test_a_death_at_a_step_costs_nothing(root: Path, toll: Toll, researcher: str) -> None:
    lab = torture_lab(root)
    options = ("--agent", researcher, "--experiments", "1")
    run(lab, *options)
    every = range(1, boundaries(lab, *options) + 1)
    walk(lab, toll, sorted(toll.chance.sample(every, 5)), *options)


@pytest.mark.slow
def test_a_death_at_a_step_of_three_lanes_costs_nothing(root: Path, toll: Toll) -> None:
    """The lanes never take their steps in the same order twice, so each tested step covers its neighbours too."""
    lab = torture_lab(root)
    options = ("--agent", SPREAD, "--lanes", "3", "--experiments", "3")
    run(lab, *options)
    every = range(1, boundaries(lab, *options) + 1)
    walk(lab, toll, sorted(toll.chance.sample(every, 5)), *options)


@pytest.mark.slow
def test_a_death_in_the_first_run_of_all_costs_nothing(root: Path, toll: Toll) -> None:
    options = ("--agent", BETTER, "--experiments", "0")
    every = range(1, boundaries(torture_lab(root / "whole"), *options) + 1)
    for effect in sorted(toll.chance.sample(every, 3)):
        walk(torture_lab(root / str(effect)), toll, [effect], *options)


@pytest.mark.torture
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("researcher", [BETTER, WORSE])
def test_a_death_at_every_step_costs_nothing(root: Path, toll: Toll, researcher: str, part: int) -> None:
    lab = torture_lab(root)
    options = ("--agent", researcher, "--experiments", "1")
    run(lab, *options)
    walk(lab, toll, list(range(1 + part, boundaries(lab, *options) + 1, PARTS)), *options)


@pytest.mark.torture
@pytest.mark.parametrize("part", range(PARTS))
def test_a_death_at_every_step_of_the_first_run_costs_nothing(root: Path, toll: Toll, part: int) -> None:
    options = ("--agent", BETTER, "--experiments", "0")
    every = boundaries(torture_lab(root / "whole"), *options)
    for effect in range(1 + part, every + 1, PARTS):
        walk(torture_lab(root / str(effect)), toll, [effect], *options)


@pytest.mark.torture
@pytest.mark.parametrize("part", range(PARTS))
def test_a_death_at_every_step_with_repeats_costs_nothing(root: Path, toll: Toll, part: int) -> None:
    """The night has three baseline runs, a repeated close call, a new run of the incumbent, and a trial removal."""
    lab = torture_lab(root, judge="auto")
    options = ("--agent", TURNS, "--experiments", "4")
    run(lab, *options)
    every = boundaries(lab, *options)
    for effect in range(1 + part, every + 1, 2 * PARTS):
        walk(lab, toll, [effect], *options)
