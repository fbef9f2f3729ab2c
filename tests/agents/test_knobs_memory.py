"""The ledger read in knob coordinates: the point of each run, and what the knobs gained."""

from autoresearch_mlx.agents.knobs.memory import Memory, first_values, remember
from autoresearch_mlx.agents.knobs.space import read_space
from autoresearch_mlx.experiment import Experiment, History, Measurement

FILE = "DEPTH = {}  # knob: int 2 12\nMATRIX_LR = {}  # knob: log 0.004 0.4\n"


def run(number: int, status: str, value: float | None, knobs: dict, base: str | None = None, **more) -> Experiment:
    measured = (Measurement(value, 0, failure=None if value is not None else "crash"),)
    return Experiment(
        number=number, status=status, value=value, gain=more.get("gain"), commit=f"c{number}", base=base, ref=None,
        title="", axis=None, knobs=knobs, agent="", reason="", started="", finished="",
        measurements=more.get("measurements", measured),
    )  # fmt: skip


BASELINE = run(0, "keep", 1.50, {})


def memory(depth: int, rate: float, *experiments: Experiment, direction: str = "min") -> Memory:
    space = read_space({"train.py": FILE.format(depth, rate)})
    return remember(space, History(experiments, "val_bpb", direction))


def test_every_run_stands_where_its_incumbent_stood_plus_its_own_changes() -> None:
    found = memory(
        5, 0.03,
        BASELINE,
        run(1, "discard", 1.51, {"DEPTH": (4, 3)}, "c0"),
        run(2, "keep", 1.45, {"DEPTH": (4, 5)}, "c0"),
        run(3, "crash", None, {"DEPTH": (5, 9)}, "c2"),
        run(4, "keep", 1.44, {"MATRIX_LR": (0.04, 0.03)}, "c2"),
        run(5, "discard", 1.46, {"DEPTH": (5, 6), "MATRIX_LR": (0.03, 0.02)}, "c4"),
    )  # fmt: skip
    assert [t.point for t in found.trials] == [(4, 0.04), (3, 0.04), (5, 0.04), (9, 0.04), (5, 0.03), (6, 0.02)]
    assert [t.moved for t in found.trials] == [(), (0,), (0,), (0,), (1,), (0, 1)]
    assert [t.failed for t in found.trials] == [False, False, False, True, False, False]


def test_scores_are_gains_over_the_baseline_whatever_the_direction() -> None:
    def scores(sign: float, direction: str) -> list[float | None]:
        found = memory(
            5, 0.04,
            run(0, "keep", 1.5 * sign, {}),
            run(1, "keep", 1.4 * sign, {"DEPTH": (4, 5)}, "c0"),
            run(2, "discard", 1.45 * sign, {"DEPTH": (5, 6)}, "c1"),
            direction=direction,
        )  # fmt: skip
        return [round(t.score, 6) for t in found.trials]

    assert scores(1, "min") == scores(-1, "max") == [0.0, 0.1, 0.05]


def test_the_judges_gain_counts_before_a_difference_of_values() -> None:
    drifted = run(1, "keep", 1.60, {"DEPTH": (4, 5)}, "c0", gain=0.02)
    assert memory(5, 0.04, BASELINE, drifted).score == 0.02


def test_a_kept_change_of_code_moves_no_score() -> None:
    found = memory(
        5, 0.04,
        BASELINE,
        run(1, "keep", 1.20, {}, "c0"),
        run(2, "keep", 1.19, {"DEPTH": (4, 5)}, "c1"),
    )  # fmt: skip
    assert [round(t.score, 6) for t in found.trials] == [0.0, 0.01]


def test_what_was_not_measured_is_no_evidence() -> None:
    found = memory(
        4, 0.04,
        BASELINE,
        run(1, "interrupted", None, {"DEPTH": (4, 5)}, "c0", measurements=()),
        run(2, "duplicate", None, {"DEPTH": (4, 6)}, "c0", measurements=()),
        run(3, "invalid", None, {"DEPTH": (4, 7)}, "c0", measurements=()),
        run(4, "crash", None, {}, "c0"),
    )  # fmt: skip
    assert [t.point for t in found.trials] == [(4, 0.04)]


def test_all_but_interrupted_points_count_as_tried() -> None:
    found = memory(
        4, 0.04,
        BASELINE,
        run(1, "interrupted", None, {"DEPTH": (4, 5)}, "c0"),
        run(2, "duplicate", None, {"DEPTH": (4, 6)}, "c0"),
        run(3, "crash", None, {"DEPTH": (4, 7)}, "c0"),
    )  # fmt: skip
    assert found.tried == {(4, 0.04), (6, 0.04), (7, 0.04)}


def test_no_way_leads_back_to_the_baseline() -> None:
    assert (4, 0.04) in memory(5, 0.04, BASELINE, run(1, "keep", 1.45, {"DEPTH": (4, 5)}, "c0")).tried


def test_knobs_that_the_space_does_not_have_are_passed_over() -> None:
    found = memory(
        4, 0.04,
        BASELINE,
        run(1, "discard", 1.6, {"WIDTH": (64, 96)}, "c0"),
        run(2, "discard", 1.6, {"DEPTH": (4, 5), "WIDTH": (None, 96)}, "c0"),
    )  # fmt: skip
    assert [t.point for t in found.trials] == [(4, 0.04), (5, 0.04)]


def test_an_experiment_from_an_older_commit_stands_where_that_commit_stood() -> None:
    found = memory(
        5, 0.04,
        BASELINE,
        run(1, "keep", 1.45, {"DEPTH": (4, 5)}, "c0"),
        run(2, "discard", 1.47, {"MATRIX_LR": (0.04, 0.02)}, "c0"),
    )  # fmt: skip
    assert found.trials[-1].point == (4, 0.02)


def test_values_without_a_place_in_the_range_are_passed_over() -> None:
    odd = ["auto", [1, 2], None, True, float("nan"), float("inf"), 10**400]
    found = memory(4, 0.04, BASELINE, *(run(n, "crash", None, {"DEPTH": (4, v)}, "c0") for n, v in enumerate(odd, 1)))
    assert [t.point for t in found.trials] == [(4, 0.04)]


def test_the_first_values_are_those_before_the_first_kept_change() -> None:
    done = (
        BASELINE,
        run(1, "discard", 1.6, {"MATRIX_LR": (0.04, 0.02)}, "c0"),
        run(2, "keep", 1.4, {"DEPTH": (4, 5)}, "c0"),
        run(3, "keep", 1.3, {"DEPTH": (5, 6)}, "c2"),
    )
    assert first_values(History(done, "val_bpb", "min")) == {"DEPTH": 4}


def test_a_run_that_was_stopped_counts_as_the_loss_it_had_by_then() -> None:
    stopped = Measurement(None, 42, "stopped", "loss 4 % above", extra={"stop": {"gap": 0.04, "share": 0.6}})
    found = memory(4, 0.04, BASELINE, run(1, "discard", None, {"DEPTH": (4, 3)}, "c0", measurements=(stopped,)))
    (trial,) = [t for t in found.trials if t.moved]
    assert round(trial.score, 6) == -0.06 and not trial.kept and not trial.failed
