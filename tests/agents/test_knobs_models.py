"""The parts of the agent's judgement, one by one: trust region, surrogate, probability of failing, moves."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_mlx.agents.knobs import region
from autoresearch_mlx.agents.knobs.coordinates import coordinates
from autoresearch_mlx.agents.knobs.memory import Trial
from autoresearch_mlx.agents.knobs.moves import last_resort, point_of, single_moves
from autoresearch_mlx.agents.knobs.space import read_space
from autoresearch_mlx.agents.knobs.surrogate import fit, learn_failures, log_expected_improvement
from bench.knob_file import TEXT

SPACE = read_space({"t.py": "A = 0.5\nB = 0.5\nC = 0.5\n"})


PLANE = coordinates(read_space({"t.py": "A = 0.5\nB = 0.5\n"}))


def trial(point: tuple, gain: float | None, kept: bool = False) -> Trial:
    return Trial(point, SPACE.start, gain, gain, kept)


def test_a_kept_step_widens_its_knob_and_a_lost_one_narrows_it() -> None:
    trials = [trial((0.6, 0.5, 0.5), 0.1, kept=True), trial((0.5, 0.6, 0.5), -0.1), trial((0.5, 0.5, 0.5), 0.0)]
    widths = region.widths(trials, 3)
    assert widths[0] > region.FIRST > widths[1]
    assert widths[2] == region.FIRST


def test_a_failure_of_two_knobs_speaks_less_against_each() -> None:
    alone = region.widths([trial((0.6, 0.5, 0.5), None)], 3)
    shared = region.widths([trial((0.6, 0.6, 0.5), None)], 3)
    assert alone[0] < shared[0] < region.FIRST


@given(st.lists(st.booleans(), max_size=60))
def test_widths_stay_within_their_bounds(kept: list[bool]) -> None:
    widths = region.widths([trial((0.6, 0.5, 0.5), 0.1, k) for k in kept], 3)
    assert np.all(widths >= region.SMALLEST) and np.all(widths <= region.LARGEST)


def test_a_knob_that_gained_weighs_more() -> None:
    weights = region.weights([trial((0.6, 0.5, 0.5), 0.1, kept=True), trial((0.5, 0.6, 0.5), 0.2)], np.ones(3))
    assert weights[0] > weights[1] == weights[2]
    assert weights.mean() == pytest.approx(1)


def surrogate(points: list[tuple], gains: list[float]):
    where = coordinates(SPACE)
    return where, fit(where, where.rows(points), np.array(gains), np.ones(3))


def test_the_surrogate_sees_the_slope_between_two_sides() -> None:
    where, model = surrogate([(0.5, 0.5, 0.5), (0.4, 0.5, 0.5), (0.6, 0.5, 0.5)], [0.0, -0.01, 0.01])
    mean, _ = model.predict(where.rows([(0.43, 0.5, 0.5), (0.57, 0.5, 0.5)]))
    assert mean[1] > 0 > mean[0]


def test_it_is_surer_where_it_has_measured() -> None:
    where, model = surrogate([(0.5, 0.5, 0.5), (0.6, 0.5, 0.5)], [0.0, -0.01])
    _, deviation = model.predict(where.rows([(0.6, 0.5, 0.5), (0.5, 0.9, 0.5)]))
    assert deviation[0] < deviation[1]


def test_a_disaster_does_not_bend_the_view_of_the_rest() -> None:
    points, gains = [(0.5, 0.5, 0.5), (0.6, 0.5, 0.5), (0.5, 0.6, 0.5)], [0.0, 0.01, -0.01]
    where, calm = surrogate([*points, (0.5, 0.5, 0.9)], [*gains, -0.02])
    _, shocked = surrogate([*points, (0.5, 0.5, 0.9)], [*gains, -100.0])
    near = where.rows([(0.6, 0.5, 0.5)])
    assert abs(calm.predict(near)[0][0] - shocked.predict(near)[0][0]) < 1.0


@given(st.floats(-100, 10), st.floats(0.01, 10))
def test_log_expected_improvement_is_finite_and_exact_where_it_can_be_checked(mean: float, deviation: float) -> None:
    found = float(log_expected_improvement(np.array([mean]), np.array([deviation]))[0])
    z = mean / deviation
    assert math.isfinite(found)
    if z > -5:
        exact = z * 0.5 * math.erfc(-z / math.sqrt(2)) + math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        assert found == pytest.approx(math.log(deviation * exact), abs=1e-6)


def test_log_expected_improvement_never_falls_with_the_mean() -> None:
    found = log_expected_improvement(np.linspace(-20, 5, 501), np.ones(501))
    assert np.all(np.diff(found) > -0.03)


def test_a_failure_speaks_against_what_lies_beyond_it() -> None:
    here = np.array([0.5, 0.5])
    rows = np.array([[0.5, 0.5], [0.65, 0.5], [0.7, 0.5], [0.5, 0.7], [0.4, 0.5]])
    model = learn_failures(PLANE, rows, np.array([False, True, True, False, False]), here)
    beyond, beside, back = model.chance(np.array([[0.9, 0.5], [0.5, 0.7], [0.3, 0.5]]))
    assert beyond > 0.8 > 0.2 > beside > back


def test_failures_on_both_sides_are_told_by_what_is_close_by() -> None:
    here = np.array([0.5, 0.5])
    rows = np.array([[0.5, 0.5], [0.3, 0.5], [0.31, 0.52], [0.7, 0.5], [0.69, 0.48], [0.5, 0.3], [0.5, 0.7]])
    model = learn_failures(PLANE, rows, np.array([False, True, True, True, True, False, False]), here)
    left, right, up, stay = model.chance(np.array([[0.3, 0.49], [0.7, 0.49], [0.5, 0.69], [0.5, 0.5]]))
    assert min(left, right) > 0.6 > max(up, stay)


def test_before_anything_is_known_a_run_is_expected_to_run() -> None:
    model = learn_failures(PLANE, np.zeros((0, 2)), np.zeros(0, bool), np.array([0.5, 0.5]))
    assert model.chance(np.array([[0.9, 0.1]]))[0] < 0.1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), max_size=30))
def test_any_pattern_of_failures_gives_probabilities(seen: list[tuple[float, float, bool]]) -> None:
    rows = np.array([s[:2] for s in seen]).reshape(len(seen), 2)
    model = learn_failures(PLANE, rows, np.array([s[2] for s in seen], bool), np.array([0.5, 0.5]))
    chance = model.chance(np.array([[0.0, 1.0], [0.5, 0.5]]))
    assert np.all((chance >= 0) & (chance <= 1))


def test_single_moves_go_both_ways_within_the_width_and_at_least_one_tick() -> None:
    space = read_space({"t.py": TEXT})
    widths = np.full(len(space), 0.04)
    for (step,) in single_moves(space, widths, np.random.default_rng(0)):
        dimension = space.dimensions[step.index]
        way = abs(dimension.unit(step.value) - dimension.unit(dimension.value))
        assert step.value != dimension.value
        assert way <= max(0.06, dimension.tick + 1e-9)
    assert {step.index for (step,) in single_moves(space, widths, np.random.default_rng(0))} == set(range(len(space)))


def test_the_last_resort_reaches_every_point_of_a_small_space() -> None:
    space = read_space({"t.py": "TIED = True\nDEPTH = 3  # knob: int 2 4\nWINDOW = 'L'  # knob: choice L SL S\n"})
    points = {point_of(space, move) for move in last_resort(space)}
    assert len(points) == 2 * 3 * 3 - 1
