"""The bench's landscapes of real runs, and its simulation of the loop with several lanes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoresearch_mlx.agents.knobs.knobs_agent import Knobs
from bench.fitted import DATA, H200_KNOBS, TABLES, Fitted, Table, features, rank_correlation, read
from bench.forest import Forest, fit
from bench.knob_file import KnobFile, Row
from bench.landscapes import FAMILIES, draw
from bench.search import knobs, walk
from bench.simulated_night import local

pytestmark = pytest.mark.uncounted

TREES = 12


@pytest.fixture(scope="module")
def runs() -> Table:
    """Return a tenth of the published runs, which a small forest fits in a second."""
    table = read(DATA / TABLES["h200"].file, H200_KNOBS)
    return Table(table.knobs, table.rows[::10], table.values[::10], table.memory_mb[::10])


@pytest.fixture(scope="module")
def landscape(runs: Table) -> Fitted:
    done = ~np.isnan(runs.values)
    value = fit(runs.rows[done], runs.values[done], TREES)
    memory = fit(runs.rows[done], np.log(runs.memory_mb[done]), TREES)
    return Fitted(runs.knobs, 0.0005, value, memory, fit(runs.rows, (~done).astype(float), TREES), 2048)


def test_the_published_table_is_read_whole() -> None:
    table = read(DATA / TABLES["h200"].file, H200_KNOBS)
    assert len(table.rows) == 10325
    assert np.isnan(table.values).sum() == 3663
    assert np.nanmin(table.values) == pytest.approx(0.974085)
    parts = [read(DATA / TABLES["h200"].file, H200_KNOBS, study) for study in ("0", "1")]
    assert sum(len(part.rows) for part in parts) == 10325


@pytest.mark.slow
def test_a_forest_predicts_runs_that_it_has_not_seen(runs: Table) -> None:
    done = np.flatnonzero(~np.isnan(runs.values))
    seen, held = done[::2], done[1::2]
    forest = fit(runs.rows[seen], runs.values[seen], TREES)
    assert rank_correlation(np.array([forest.predict(row) for row in runs.rows[held]]), runs.values[held]) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("trees", [1, 3, 8])
def test_the_flat_forest_predicts_what_scikit_learn_does(trees: int) -> None:
    from sklearn.ensemble import ExtraTreesRegressor

    rng = np.random.default_rng(trees)
    rows, values = rng.random((60, 3)), rng.random(60)
    model = ExtraTreesRegressor(trees, min_samples_leaf=2, random_state=0).fit(rows, values)
    forest = fit(rows, values, trees)
    asked = rng.random((20, 3))
    assert [forest.predict(row) for row in asked] == pytest.approx(model.predict(asked))


def test_the_landscape_starts_at_upstreams_file_and_grows_with_its_sizes(landscape: Fitted) -> None:
    start = H200_KNOBS.start
    assert landscape.true(start) == pytest.approx(0.9914, abs=0.003)
    assert landscape.memory_mb(start) == pytest.approx(44_000, rel=0.1)
    assert landscape.memory_mb({**start, "DEVICE_BATCH_SIZE": 64}) < landscape.memory_mb(start)
    assert landscape.true({**start, "DEVICE_BATCH_SIZE": 256, "DEPTH": 20}) is None


def test_a_batch_smaller_than_one_pass_fails(landscape: Fitted) -> None:
    small = {**H200_KNOBS.start, "TOTAL_BATCH_SIZE": 2**17}
    assert landscape.true(small) is None
    assert replace(landscape, row_tokens=0).true(small) is not None
    assert landscape.true({**small, "DEVICE_BATCH_SIZE": 64}) is not None


def test_a_configuration_becomes_numbers_by_the_kind_of_each_knob() -> None:
    file = KnobFile(
        (Row("A", "log", 1, 100, 10), Row("B", "choice", 0, 0, "x", ("x", "y")), Row("C", "lin", 0, 1, 0.5))
    )
    assert features(file, {"A": 100, "B": "y", "C": 0.25}) == pytest.approx([np.log(100), 0, 1, 0.25])


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_a_night_with_several_lanes_has_as_many_trials_and_ends_better_than_it_began(lanes: int) -> None:
    night = local(knobs, lanes)(draw(FAMILIES[0], 1), 16, 1)
    assert len(night.chosen) == len(night.failures) == 16
    assert night.chosen[-1] < night.chosen[0]


def test_the_walk_and_the_optimiser_have_the_same_luck() -> None:
    """The noise of a trial depends on the seed and the trial alone, not on who proposes."""
    landscape = draw(FAMILIES[0], 2)
    first = [local(make)(landscape, 1, 2) for make in (knobs, walk)]
    assert len(first) == 2 and all(night.chosen[0] <= landscape.true(landscape.knobs.start) for night in first)


@pytest.mark.slow
def test_a_proposal_takes_less_than_a_second_after_a_night() -> None:
    night = local(lambda seed: Knobs(seed).propose)(draw(FAMILIES[0], 3), 40, 3)
    assert night.seconds / 40 < 1


def test_a_forest_without_splits_is_its_mean() -> None:
    forest = fit(np.zeros((5, 2)), np.arange(5.0), 3)
    assert isinstance(forest, Forest)
    assert forest.predict(np.array([1.0, 2.0])) == pytest.approx(2.0)
