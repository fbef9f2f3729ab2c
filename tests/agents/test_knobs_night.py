"""A night on synthetic landscapes: the agent against the plain random walk, under the loop's own rule."""

import numpy as np
import pytest

from bench.knob_file import START_VALUES
from bench.landscapes import FAMILIES, START, draw
from bench.search import knobs, walk
from bench.simulated_night import local

pytestmark = pytest.mark.uncounted

BY_NAME = {family.name: family for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_landscape_starts_where_it_says_and_mostly_loses_nearby(family) -> None:
    for seed in range(5):
        landscape = draw(family, seed)
        assert landscape.true(START_VALUES) == pytest.approx(START)
        assert landscape.sigma > 0
        assert landscape.true({**START_VALUES, "DEVICE_BATCH_SIZE": 2**20}) is None


def test_the_same_seed_draws_the_same_landscape() -> None:
    assert draw(BY_NAME["cliff"], 3) == draw(BY_NAME["cliff"], 3) != draw(BY_NAME["cliff"], 4)


@pytest.mark.slow
def test_knobs_beats_the_plain_walk_in_the_mean() -> None:
    """The test takes six seeds and 30 trials; ``python bench/search.py`` makes the full table."""
    family = BY_NAME["interacting"]
    ours = [local(knobs)(draw(family, seed), 30, seed).chosen[-1] for seed in range(6)]
    plain = [local(walk)(draw(family, seed), 30, seed).chosen[-1] for seed in range(6)]
    assert np.mean(ours) < np.mean(plain)
