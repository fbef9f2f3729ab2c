"""When nothing was repeated, a margin decides, by arithmetic alone."""

from __future__ import annotations

import pytest

from autoresearch_mlx.experiment import Direction, Experiment, Failure, History, Measurement, Status, Verdict
from autoresearch_mlx.judge import Again, Margin, incumbent_value, mean_value
from autoresearch_mlx.judge.history import sigma_of


def measured(*values: float) -> tuple[Measurement, ...]:
    return tuple(Measurement(value, seed) for seed, value in enumerate(values, 42))


def kept(number: int, *values: float, status: Status = "keep") -> Experiment:
    mean = sum(values) / len(values) if values else None
    return Experiment(number, status, mean, None, "c", "b", "r", "t", None, {}, "", "", "", "", measured(*values))


def history(*experiments: Experiment, direction: Direction = "min") -> History:
    return History(experiments, "val_bpb", direction)


def test_without_a_measurement_one_is_asked_for() -> None:
    assert isinstance(Margin(0).decide(history(kept(0, 2.0)), []), Again)


def test_the_first_value_is_the_baseline() -> None:
    assert Margin(0.1).decide(history(), measured(2.5)) == Verdict("keep", "baseline: val_bpb 2.500000")


@pytest.mark.parametrize(
    ("direction", "value", "margin", "status", "reason"),
    [
        ("min", 1.9, 0.05, "keep", "gain 0.100000 against the incumbent's 2 (margin 0.05): keep"),
        ("min", 1.96, 0.05, "discard", "gain 0.040000 against the incumbent's 2 (margin 0.05): discard"),
        ("min", 2.1, 0.0, "discard", "loss 0.100000 against the incumbent's 2 (margin 0): discard"),
        ("min", 2.0, 0.0, "discard", "change 0 against the incumbent's 2 (margin 0): discard"),
        ("max", 2.1, 0.05, "keep", "gain 0.100000 against the incumbent's 2 (margin 0.05): keep"),
        ("max", 1.9, 0.0, "discard", "loss 0.100000 against the incumbent's 2 (margin 0): discard"),
    ],
)
def test_a_change_must_gain_more_than_the_margin(
    direction: Direction, value: float, margin: float, status: Status, reason: str
) -> None:
    verdict = Margin(margin).decide(history(kept(0, 2.0), direction=direction), measured(value))
    assert verdict == Verdict(status, reason)


def test_a_gain_of_exactly_the_margin_is_not_enough() -> None:
    assert Margin(0.5).decide(history(kept(0, 2.0)), measured(1.5)) == Verdict(
        "discard", "gain 0.500000 against the incumbent's 2 (margin 0.5): discard"
    )


@pytest.mark.parametrize("failure", ["crash", "timeout", "invalid"])
def test_any_failed_measurement_is_the_verdict_with_its_own_words(failure: Failure) -> None:
    runs = [*measured(0.1), Measurement(None, 43, failure, "what happened")]
    assert Margin(0).decide(history(kept(0, 2.0)), runs) == Verdict(failure, "what happened")


def test_a_measurement_without_value_or_failure_is_invalid_not_kept() -> None:
    assert Margin(0).decide(history(), [Measurement(None, 42)]).reason == "no value was measured"


def test_several_runs_count_by_their_mean_on_both_sides() -> None:
    verdict = Margin(0).decide(history(kept(0, 2.0, 3.0)), measured(2.0, 2.6))
    assert verdict.reason.startswith("gain 0.200000 against the incumbent's 2.500000")


def test_the_incumbent_is_the_last_keep_never_the_smallest_value_seen() -> None:
    lucky = kept(2, 1.0, status="discard")
    assert Margin(0).decide(history(kept(0, 2.0), kept(1, 1.9), lucky), measured(1.8)).reason.startswith("gain 0.1")


def test_the_mean_leaves_out_what_was_not_measured() -> None:
    assert mean_value([*measured(1.0, 2.0), Measurement(None, 44, "crash")]) == 1.5
    assert mean_value([]) is None


def test_an_imported_keep_counts_by_its_value_and_one_without_any_is_refused() -> None:
    imported = Experiment(3, "keep", 1.25, None, "c", "b", "r", "t", None, {}, "", "", "", "")
    assert incumbent_value(imported) == 1.25
    with pytest.raises(ValueError, match="kept experiment 7 has no value"):
        incumbent_value(kept(7))


def test_sigma_for_the_display_is_pooled_over_commits_that_were_measured_twice() -> None:
    assert sigma_of(history(kept(0, 2.0, 4.0))).value == pytest.approx(2**0.5)
    assert sigma_of(history(kept(0, 2.0))).value is None
