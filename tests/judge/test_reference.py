"""The speed that counts as 1 in a session, and runs whose steps cost the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from history_cases import night, tried

from autoresearch_mlx.experiment import History, Measurement, Reference, Repeat
from autoresearch_mlx.judge.reference import by_the_fastest, reference_of, same_cost, speed_news

QUIET = {"processor_share": 0.99, "processor_seconds": 10.0, "product_ms": 0.1, "copy_ms": 3.0}
OTHERS = "other programs took 80 % of the processor: python"


def run(speed: float | None = 0.99, tainted: bool = False, words: str = "", **facts: float) -> Measurement:
    machine = {**QUIET, "processor_share": speed, **facts} if speed is not None else {}
    sized = {"num_params": 1000, "matrix_params": 500}
    said = words or (OTHERS if tainted else "")
    counts = {"steps": 100, "tokens": 20_000, "speed": speed, "disturbed_by": said}
    return Measurement(3.0, 42, tainted=tainted, machine=machine, extra=sized, **counts)  # type: ignore[arg-type]


def after(*runs: Measurement) -> History:
    before = night()
    baseline = before.experiments[0]
    return replace(before, experiments=(replace(baseline, measurements=runs),))


def test_the_first_run_of_a_quiet_baseline_is_the_reference() -> None:
    found = reference_of(after(run(), run(0.97, product_ms=0.2)))
    assert found == Reference(1.0, 0.1, 3.0)


def test_a_disturbed_first_run_is_passed_over() -> None:
    assert reference_of(after(run(0.4, tainted=True, product_ms=0.3), run())).product_ms == 0.1


def test_without_a_run_that_tells_its_speed_the_reference_is_a_quiet_machine() -> None:
    assert reference_of(after(run(None))) == Reference()
    assert reference_of(History((), "val_bpb", "min")) == Reference()


def test_a_machine_that_does_not_get_quiet_is_its_own_reference() -> None:
    slow = [run(0.4, tainted=True), run(0.5, tainted=True)]
    assert reference_of(History((), "val_bpb", "min"), slow) == Reference(pytest.approx(0.45))
    counted = replace(run(0.4), speed=0.8)  # taken by the reference of half a processor
    assert reference_of(after(*slow, counted)).processor_share == pytest.approx(0.5)


def test_a_new_regime_has_its_own_reference() -> None:
    repeat = replace(run(product_ms=0.2), regime=1)
    history = replace(after(run()), regime=1)
    assert reference_of(history) == Reference()
    assert reference_of(replace(history, repeats=(Repeat(0, 0, repeat),))).product_ms == 0.2


def test_the_speed_of_a_certifications_repeat_does_not_replace_the_baselines() -> None:
    repeat = run(product_ms=0.3)
    assert reference_of(replace(after(run()), repeats=(Repeat(0, 0, repeat),))).product_ms == 0.1


INCUMBENT = [run(), replace(run(), steps=104, tokens=20_800, machine={**QUIET, "processor_seconds": 10.4})]


def slowed(**changes: Any) -> Measurement:
    """Return a run that was cut off after 40 steps on a busy machine, on which a step took 10 % more processor time."""
    half = run(0.4, tainted=True, processor_seconds=4.4)
    return replace(replace(half, steps=40, tokens=8_000), **changes)


def test_a_run_whose_steps_cost_the_same_gets_the_incumbents_steps() -> None:
    assert same_cost(slowed(), INCUMBENT) == 102


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"machine": {**QUIET, "processor_seconds": 5.2}}, id="a step takes 30 % more processor time"),
        pytest.param({"machine": {}}, id="its processor time is unknown"),
        pytest.param({"tokens": 16_000}, id="a step has twice the tokens"),
        pytest.param({"extra": {"num_params": 2000, "matrix_params": 500}}, id="the model is larger"),
        pytest.param({"extra": {"num_params": 1000, "matrix_params": 900}}, id="its matrices are larger"),
        pytest.param({"steps": None}, id="its steps are unknown"),
        pytest.param({"steps": 0}, id="it made no step"),
    ],
)
def test_a_run_whose_steps_may_cost_more_is_ended_by_the_clock(changes: Any) -> None:
    assert same_cost(slowed(**changes), INCUMBENT) is None


def test_disturbed_and_failed_runs_of_the_incumbent_say_nothing_of_its_steps() -> None:
    assert same_cost(slowed(), [replace(run(), tainted=True), replace(run(), value=None)]) is None
    assert same_cost(slowed(), []) is None


def test_the_news_names_what_slowed_the_newest_run_and_a_busy_baseline() -> None:
    history = night(tried(1, "keep", measurements=(run(0.4, tainted=True), run())))
    assert dict(speed_news(history))["disturbed"] == (
        f"a run got 40 % of the machine's usual speed: {OTHERS}; such runs do not count and are repeated"
    )
    busy = after(run(0.34, tainted=True), replace(run(0.34), speed=1.0))
    assert speed_news(busy) == [
        (
            "reference",
            "the machine was busy during the baseline, which got 34 % of the processor time that it wanted; "
            "so this session trains about a third of its budget; start afresh with `run --tag NAME` "
            "when the machine is quiet",
        )
    ]
    assert speed_news(after(run(), run())) == []


def busy_first(*later: float) -> list[Measurement]:
    """Return a first run that was cut off at 34 % and became the reference, and later runs with these shares."""
    others = [replace(run(share), speed=share / 0.34) for share in later]
    return [run(0.34, tainted=True), *others]


def test_a_faster_run_of_the_baseline_becomes_the_reference_and_the_slower_ones_do_not_count() -> None:
    found = by_the_fastest(busy_first(0.34, 0.8, 0.75))
    assert [m.tainted for m in found] == [True, True, False, False]
    assert [m.speed for m in found[1:]] == [pytest.approx(0.425), 1.0, pytest.approx(0.9375)]
    assert found[1].extra["tainted"] == "the machine was busy: a later run of the baseline was 2.4 times as fast"
    assert reference_of(after(*found)).processor_share == pytest.approx(0.8)
    assert by_the_fastest(found) == found


@pytest.mark.parametrize("shares", [(0.34, 0.38, 0.35), (0.3, 0.33), ()])
def test_runs_of_the_baseline_that_differ_by_less_stay_as_they_are(shares: tuple[float, ...]) -> None:
    assert by_the_fastest(busy_first(*shares)) == busy_first(*shares)
