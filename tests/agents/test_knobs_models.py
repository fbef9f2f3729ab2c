"""The parts of the agent's judgement, one by one: trust region, surrogate, probability of failing, moves."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_mlx.agents.knobs import region
from autoresearch_mlx.agents.knobs.coordinates import coordinates
from autoresearch_mlx.agents.knobs.failures import learn_failures, learn_memory
from autoresearch_mlx.agents.knobs.joint_moves import Pool
from autoresearch_mlx.agents.knobs.kernel import USUAL, Scales, along, covariance, learn_scales
from autoresearch_mlx.agents.knobs.memory import Memory, Trial
from autoresearch_mlx.agents.knobs.moves import last_resort, point_of, single_moves
from autoresearch_mlx.agents.knobs.outlook import CAUTION, look
from autoresearch_mlx.agents.knobs.space import read_space
from autoresearch_mlx.agents.knobs.surrogate import fit, log_expected_improvement
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


def chances(rows: np.ndarray, failed: list[bool], asked: list[list[float]]) -> np.ndarray:
    """Return the predicted chance of failing at the points in ``asked``; no knob changes the memory here."""
    model = learn_failures(PLANE, rows, np.zeros(len(rows)), np.array(failed, bool), np.array([0.5, 0.5]))
    return model.chance(np.array(asked), np.zeros(len(asked)))


def test_a_failure_speaks_against_what_lies_beyond_it() -> None:
    rows = np.array([[0.5, 0.5], [0.65, 0.5], [0.7, 0.5], [0.5, 0.7], [0.4, 0.5]])
    beyond, beside, back = chances(rows, [False, True, True, False, False], [[0.9, 0.5], [0.5, 0.7], [0.3, 0.5]])
    assert beyond > 0.8 > 0.2 > beside > back


def test_one_failure_is_enough_to_expect_it_again() -> None:
    rows = np.array([[0.5, 0.5], [0.65, 0.5], [0.4, 0.5], [0.5, 0.6]])
    again, other = chances(rows, [False, True, False, False], [[0.65, 0.52], [0.5, 0.65]])
    assert again > 0.5 > 0.2 > other


def test_failures_on_both_sides_are_told_by_what_is_close_by() -> None:
    rows = np.array([[0.5, 0.5], [0.3, 0.5], [0.31, 0.52], [0.7, 0.5], [0.69, 0.48], [0.5, 0.3], [0.5, 0.7]])
    asked = [[0.3, 0.49], [0.7, 0.49], [0.5, 0.69], [0.5, 0.5]]
    left, right, up, stay = chances(rows, [False, True, True, True, True, False, False], asked)
    assert min(left, right) > 0.6 > max(up, stay)


def test_before_anything_is_known_a_run_is_expected_to_run() -> None:
    assert chances(np.zeros((0, 2)), [], [[0.9, 0.1]])[0] < 0.1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans(), st.floats(-4, 4)), max_size=30))
def test_any_pattern_of_failures_gives_probabilities(seen: list[tuple[float, float, bool, float]]) -> None:
    rows = np.array([s[:2] for s in seen]).reshape(len(seen), 2)
    doublings = np.array([s[3] for s in seen])
    model = learn_failures(PLANE, rows, doublings, np.array([s[2] for s in seen], bool), np.array([0.5, 0.5]))
    chance = model.chance(np.array([[0.0, 1.0], [0.5, 0.5]]), np.array([4.0, 0.0]))
    assert np.all((chance >= 0) & (chance <= 1))


SIZES = read_space(
    {
        "t.py": "DEPTH = 8  # knob: int 2 16\nDEVICE_BATCH_SIZE = 64  # knob: pow2 8 256\n"
        "LEAN = 512  # knob: pow2 64 4096\nMATRIX_LR = 0.04\n"
    }
)


def sized(depth: int, rows: int, lean: int = 512, memory: float | None = None) -> Trial:
    point = (depth, rows, lean, 0.04)
    return Trial(point, SIZES.start, None if memory is None else 0.0, None, False, memory)


def test_before_a_run_was_measured_the_names_of_the_sizes_tell_the_memory() -> None:
    deeper, wider, lean, rate = learn_memory(SIZES, []).doublings(
        [(16, 64, 512, 0.04), (8, 128, 512, 0.04), (8, 64, 1024, 0.04), (8, 64, 512, 0.4)]
    )
    assert deeper > 0.5 and wider > 0.5
    assert lean == rate == 0


@pytest.mark.parametrize(
    ("trials", "point", "low", "high"),
    [
        # Memory in proportion to the rows; twice the rows take twice as much.
        ([sized(8, 64, 512, 40e3), sized(8, 32, 512, 20e3), sized(8, 16, 512, 10e3)], (8, 128, 512, 0.04), 0.85, 1.1),
        # If depth takes no memory, that is learned.
        ([sized(8, 64, 512, 40e3), sized(4, 64, 512, 40e3), sized(6, 64, 512, 40e3)], (16, 64, 512, 0.04), -0.1, 0.2),
        # How a knob affects memory is learned from the runs alone if its name does not show it.
        (
            [sized(8, 64, v, m) for v, m in ((512, 4e4), (256, 2e4), (128, 1e4), (64, 5e3))],
            (8, 64, 2048, 0.04),
            1.0,
            2.1,
        ),
    ],
    ids=["rows", "depth", "an unknown size"],
)
def test_memory_is_learned_from_measured_runs(trials: list[Trial], point: tuple, low: float, high: float) -> None:
    assert low < learn_memory(SIZES, trials).doublings([point])[0] < high


@pytest.mark.parametrize("peaks", [(0.2, 0.1, 2.9), (1.4, 2.9, 0.1), (63.0, 8.0, 31.0)], ids=["a", "b", "c"])
def test_peaks_of_a_few_megabytes_teach_nothing(peaks: tuple[float, ...]) -> None:
    """The moment at which a short program's peak is read is random, but two equal nights must choose the same steps."""
    trials = [sized(8, rows, 512, peak) for rows, peak in zip((64, 32, 128), peaks, strict=True)]
    assert np.array_equal(learn_memory(SIZES, trials).growth, learn_memory(SIZES, []).growth)


def test_one_lack_of_memory_warns_of_every_way_to_use_as_much() -> None:
    """Only a larger device batch ran out of memory; a depth that would need as much memory was never tried."""
    where = coordinates(SIZES)
    trials = [sized(8, 64, 512, 40e3), sized(4, 64, 512, 22e3), sized(8, 32, 512, 21e3), sized(8, 128), sized(8, 256)]
    appetite, rows = learn_memory(SIZES, trials), where.rows([t.point for t in trials])
    failed = np.array([t.failed for t in trials])
    model = learn_failures(where, rows, appetite.doublings([t.point for t in trials]), failed, rows[0])
    asked = [(16, 64, 512, 0.04), (5, 64, 512, 0.04)]
    deep, shallow = model.chance(where.rows(asked), appetite.doublings(asked))
    assert deep > 0.3 > 0.1 > shallow


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


def random_points(count: int, knobs: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, knobs))


@pytest.mark.parametrize("matters", [0, 1, 2])
def test_the_knob_that_moves_the_gain_gets_the_highest_relevance(matters: int) -> None:
    rows = random_points(25, 3)
    squares = (rows[:, None] - rows[None]) ** 2
    scales = learn_scales(squares, 3 * np.sin(5 * rows[:, matters]), np.ones(3))
    assert int(np.argmax(scales.relevance)) == matters
    assert scales.relevance[matters] > 0.6


def test_the_noise_of_pure_noise_is_large_and_that_of_a_smooth_gain_is_small() -> None:
    rows = random_points(30, 3)
    squares = (rows[:, None] - rows[None]) ** 2
    noisy = learn_scales(squares, np.random.default_rng(1).normal(size=30), np.ones(3))
    smooth = learn_scales(squares, 2 * rows[:, 0] - rows[:, 1], np.ones(3))
    assert noisy.noise > 0.2 > 0.02 > smooth.noise


def test_with_no_more_than_one_point_the_scales_stay_as_usual() -> None:
    scales = learn_scales(np.zeros((1, 1, 2)), np.array([1.0]), np.array([1.0, 3.0]))
    assert scales.relevance == pytest.approx([0.25, 0.75], abs=0.1)
    assert (scales.single, scales.joint, scales.share) == pytest.approx(USUAL[:3], rel=0.2)


def test_the_kernel_along_one_knob_is_that_of_the_whole_points() -> None:
    rows, here = random_points(6, 3), random_points(1, 3, seed=5)[0]
    scales = Scales(np.array([0.5, 0.3, 0.2]), 0.2, 0.7, 0.4, 0.1)
    moved = np.tile(here, (3, 1))
    moved[np.arange(3), [0, 1, 2]] = 0.9
    squares, changed = (here - rows) ** 2, (0.9 - rows.T) ** 2
    whole = covariance(scales, (moved[:, None] - rows[None]) ** 2)
    assert along(scales, squares, changed[:, None], np.arange(3)[:, None]) == pytest.approx(whole)


def test_the_kernel_along_two_columns_is_that_of_the_whole_points() -> None:
    rows, here = random_points(6, 3), random_points(1, 3, seed=5)[0]
    scales = Scales(np.array([0.5, 0.3, 0.2]), 0.2, 0.7, 0.4, 0.1)
    index = np.array([[0, 2], [1, -1]])
    moved = np.tile(here, (2, 1))
    moved[0, [0, 2]], moved[1, 1] = 0.9, 0.9
    changed = (0.9 - rows[:, index]).transpose(1, 2, 0) ** 2
    whole = covariance(scales, (moved[:, None] - rows[None]) ** 2)
    assert along(scales, (here - rows) ** 2, changed, index) == pytest.approx(whole)


PAIRS = read_space(
    {
        "t.py": "DEPTH = 8  # knob: int 2 32\nASPECT_RATIO = 64  # knob: int 16 256\n"
        "TOTAL_BATCH_SIZE = 2**18  # knob: pow2 65536 1048576\nDEVICE_BATCH_SIZE = 64  # knob: pow2 16 256\n"
    }
)


@pytest.mark.parametrize(
    ("point", "changed"),
    [
        ((16, 32, 2**18, 64), {0}),  # twice as deep and half as wide for its depth: the model keeps its width
        ((8, 64, 2**19, 128), {2}),  # twice the rows in passes of twice the size: as many passes
        ((8, 32, 2**18, 64), {1}),
        ((8, 64, 2**18, 128), {3}),
        ((16, 64, 2**18, 64), {0, 1}),
        ((8, 64, 2**17, 64), {2, 3}),
    ],
)
def test_knobs_whose_product_counts_share_a_column(point: tuple, changed: set[int]) -> None:
    here, there = coordinates(PAIRS).rows([PAIRS.start, point])
    assert {int(i) for i in np.flatnonzero(np.abs(here - there) > 1e-9)} == changed


@pytest.mark.parametrize(
    "text",
    [
        "DEPTH = 8  # knob: int 2 32\n",  # no width
        "DEPTH = 8  # knob: int 2 32\nASPECT_RATIO = 64  # knob: lin 16 256\n",  # differences count, not ratios
        "TOTAL_BATCH_SIZE = 4096  # knob: pow2 1024 16384\nDEVICE_BATCH_SIZE = 8  # knob: choice 4 8 16\n",
    ],
)
def test_without_both_knobs_of_a_pair_placed_by_ratio_each_keeps_its_own_column(text: str) -> None:
    assert np.all(coordinates(read_space({"t.py": text})).follower == -1)


def test_one_crash_of_too_small_a_batch_warns_of_too_large_passes() -> None:
    """Half the batch crashed, because it is below one pass; a device batch that doubles the pass would crash too."""
    where = coordinates(PAIRS)
    points = [PAIRS.start, (8, 64, 2**17, 64), (6, 64, 2**18, 64), (8, 80, 2**18, 64)]
    rows = where.rows(points)
    model = learn_failures(where, rows, np.zeros(4), np.array([False, True, False, False]), rows[0])
    larger, smaller = model.beyond(where.rows([(8, 64, 2**18, 128), (8, 64, 2**18, 32)]), np.zeros(2))
    assert larger > 0.3 > 0.05 > smaller


def test_joint_moves_are_scored_as_the_models_score_the_whole_point() -> None:
    """Some of the moves change a knob that two columns depend on (depth, total batch)."""
    gained = [(PAIRS.start, 0.0), ((7, 64, 2**18, 64), -0.2), ((8, 72, 2**18, 64), 0.3), ((8, 64, 2**19, 64), -0.5)]
    trials = tuple(Trial(point, PAIRS.start, gain, gain, False) for point, gain in gained)
    outlook = look(PAIRS, Memory(trials, frozenset(), 0.0))
    steps = [step for (step,) in single_moves(PAIRS, outlook.widths, np.random.default_rng(0))]
    pool = Pool.of(outlook, steps)
    deeper = next(i for i, step in enumerate(steps) if step.index == 0)
    for at, score in enumerate(pool.score({0: deeper})):
        move = tuple({0: steps[deeper], steps[at].index: steps[at]}.values())
        point = point_of(outlook.space, move)
        row = outlook.where.rows([point])
        mean, deviation = outlook.surrogate.predict(row)
        improvement = log_expected_improvement(mean - outlook.level, deviation)[0]
        runs = 1 - outlook.failures.beyond(row, outlook.appetite.doublings([point]))[0]
        assert score == pytest.approx(improvement + CAUTION * math.log(runs))


def test_a_joint_move_without_one_step_is_scored_as_the_move_of_the_other_steps() -> None:
    first = Trial((7, 64, 2**18, 64), PAIRS.start, -0.2, -0.2, False)
    outlook = look(PAIRS, Memory((first,), frozenset(), 0.0))
    steps = [step for (step,) in single_moves(PAIRS, outlook.widths, np.random.default_rng(0))]
    pool = Pool.of(outlook, steps)
    depth, width, batch = (next(i for i, step in enumerate(steps) if step.index == knob) for knob in (0, 1, 2))
    without = pool.scores_without({0: depth, 1: width, 2: batch})
    assert without[1] == pytest.approx(pool.score({0: depth})[batch])
    assert without[0] == pytest.approx(pool.score({1: width})[batch])
    assert without[2] == pytest.approx(pool.score({0: depth})[width])


def test_a_step_from_a_point_that_was_not_kept_is_a_step_of_one_knob() -> None:
    """The ledger records only the difference from the incumbent, which is two knobs here."""
    first = trial((0.6, 0.5, 0.5), -0.01)
    second = trial((0.6, 0.7, 0.5), 0.02)
    crash = trial((0.6, 0.5, 0.9), None)
    steps = region.from_the_closest([first, second, crash], sigma=0.02)
    assert steps[0] == first
    assert (steps[1].origin, steps[1].moved, steps[1].gain, steps[1].kept) == (
        first.point,
        (1,),
        pytest.approx(0.03),
        True,
    )
    assert (steps[2].moved, steps[2].kept) == ((2,), False)


def test_a_step_counts_as_kept_only_beyond_the_noise() -> None:
    first, second = trial((0.6, 0.5, 0.5), -0.01), trial((0.6, 0.7, 0.5), 0.02)
    assert not region.from_the_closest([first, second], sigma=0.05)[1].kept


def test_trials_that_are_closest_to_the_incumbent_stay_as_they_are() -> None:
    trials = [trial((0.6, 0.5, 0.5), 0.1, kept=True), trial((0.5, 0.7, 0.5), -0.1), trial((0.5, 0.5, 0.4), None)]
    assert region.from_the_closest(trials, sigma=0.01) == tuple(trials)
    assert region.from_the_closest([], sigma=0.01) == ()


LUCKY = [
    ((0.5, 0.5, 0.5), 0.0),
    ((0.52, 0.5, 0.5), -0.06),
    ((0.48, 0.5, 0.5), -0.06),
    ((0.5, 0.48, 0.5), -0.06),
    ((0.5, 0.64, 0.5), -0.01),
    ((0.5, 0.65, 0.5), -0.02),
    ((0.5, 0.66, 0.5), -0.01),
]
"""Points and scores around a lucky incumbent, which is 0.06 better than its neighbours; a better region lies up B."""


def lucky(sigma: float | None):
    trials = tuple(Trial(point, SPACE.start, score, score or None, kept=False) for point, score in LUCKY)
    return look(SPACE, Memory(trials, frozenset(), 0.0), sigma)


def test_moves_start_from_the_best_point_when_the_incumbent_was_lucky() -> None:
    """The best point leads by two or three sigma, and three measured points speak against the incumbent."""
    outlook = lucky(sigma=0.03)
    _, up, _ = outlook.space.start
    assert 0.64 <= up <= 0.66
    assert outlook.space.changes(SPACE.start).keys() == {"B"}


BEST = [
    ((0.5 + a, 0.5 + b, 0.5), -0.4 * (a**2 + b**2)) for a, b in [(0, 0), (0.15, 0), (-0.2, 0), (0, 0.15), (0, -0.2)]
]
"""Points and scores of a round hill, with the incumbent at its top."""


def test_moves_start_from_the_incumbent_when_the_points_around_it_agree_with_it() -> None:
    trials = tuple(Trial(point, SPACE.start, score, score or None, kept=False) for point, score in BEST)
    assert look(SPACE, Memory(trials, frozenset(), 0.0), sigma=0.001).space.start == SPACE.start


def test_a_known_noise_guides_the_noise_that_is_learned() -> None:
    where, gains = coordinates(SPACE), np.array([gain for _, gain in BEST])
    rows = where.rows([point for point, _ in BEST])
    models = [fit(where, rows, gains, np.ones(3), sigma) for sigma in (0.0005, 0.004)]
    little, much = (model.noise * model.unit for model in models)
    assert little < 0.5 * much
    assert much == pytest.approx(0.004, rel=0.5)


@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_the_gain_that_is_kept_agrees_with_a_simulation(margin: float) -> None:
    """Draw the real gains and the measurement, and keep what measures well enough."""
    where, model = surrogate([point for point, _ in LUCKY], [gain for _, gain in LUCKY])
    here, asked = where.rows([(0.5, 0.5, 0.5)]), where.rows([(0.5, 0.6, 0.5), (0.6, 0.6, 0.5)])
    found = np.exp(model.log_kept_gain(asked, here, noise=1.0, margin=margin))
    rng = np.random.default_rng(0)
    for row, kept in zip(asked, found, strict=True):
        both = np.vstack([row, here[0]])
        k = covariance(model.scales, where.squares(both, model.rows)) @ model.whiten.T
        cover = (covariance(model.scales, where.squares(both, both)) - k @ k.T) * model.variance
        mean, _ = model.predict(both)
        drawn = rng.multivariate_normal(mean, cover, size=200_000)
        measured = drawn[:, 0] + rng.normal(size=len(drawn))
        wanted = np.mean((drawn[:, 0] - drawn[:, 1]) * (measured > margin))
        assert kept == pytest.approx(wanted, abs=0.01 + 0.03 * abs(wanted)) or (wanted < 0 and kept < 1e-3)


@pytest.mark.slow
@given(st.floats(-60, 10), st.floats(0, 5), st.floats(0, 5))
def test_ranks_are_finite_however_far_a_measurement_is_out_of_reach(margin: float, noise: float, place: float) -> None:
    where, model = surrogate([(0.5, 0.5, 0.5), (0.6, 0.5, 0.5)], [0.0, -0.01])
    rows, here = where.rows([(0.5, 0.5 + place / 10, 0.5)]), where.rows([(0.5, 0.5, 0.5)])
    assert np.isfinite(model.log_kept_gain(rows, here, noise, -margin)).all()
