"""An effect is the difference between a run and the last keep before it in the same log."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_mlx.compare.effects import Run, axis_of_experiment, by_axis, effects, from_experiment
from autoresearch_mlx.experiment import Experiment


def run(order: int, value: float | None, status: str, axis: str = "depth") -> Run:
    return Run(order, f"{order:07x}", value, status, axis, {}, "")


def test_the_incumbent_is_the_last_keep_and_never_a_better_discard() -> None:
    log = [run(0, 1.0, "keep"), run(1, 0.8, "discard"), run(2, 0.9, "keep"), run(3, 0.95, "discard")]
    found = effects(log, "min")
    assert [effect.incumbent for effect in found] == [1.0, 1.0, 0.9]
    assert [effect.gain for effect in found] == pytest.approx([0.2, 0.1, -0.05])
    assert [effect.percent for effect in found] == pytest.approx([20, 10, -5 / 0.9])


def test_where_more_is_better_the_sign_turns() -> None:
    [effect] = effects([run(0, 2.0, "keep"), run(1, 3.0, "keep")], "max")
    assert (effect.gain, effect.percent) == (1.0, 50.0)


def test_a_percentage_of_a_negative_incumbent_keeps_the_sign_of_the_gain() -> None:
    [effect] = effects([run(0, -2.0, "keep"), run(1, -3.0, "keep")], "min")
    assert (effect.gain, effect.percent) == (1.0, 50.0)


def test_there_is_no_percentage_of_nothing() -> None:
    [effect] = effects([run(0, 0.0, "keep"), run(1, -1.0, "keep")], "min")
    assert (effect.gain, effect.percent) == (1.0, None)


def test_a_run_without_value_and_one_without_incumbent_have_no_effect() -> None:
    log = [run(0, None, "crash"), run(1, 1.0, "discard"), run(2, 0.9, "keep"), run(3, None, "timeout")]
    assert [effect.gain for effect in effects(log, "min")] == [None, None, None]


def test_repetitions_and_interruptions_do_not_count_as_tries() -> None:
    log = [run(0, 1.0, "keep"), run(1, None, "duplicate"), run(2, None, "interrupted"), run(3, None, "crash")]
    assert [effect.run.order for effect in effects(log, "min")] == [3]


def test_an_axis_tells_tries_keeps_and_the_run_with_the_largest_gain() -> None:
    log = [
        run(0, 1.0, "keep", "baseline"),
        run(1, 0.9, "keep", "batch"),
        run(2, 0.95, "discard", "depth"),
        run(3, 0.7, "keep", "batch"),
        run(4, None, "crash", "batch"),
        run(5, None, "crash", "rope"),
    ]
    axes = by_axis(effects(log, "min"))
    assert list(axes) == ["batch", "depth", "rope"]
    batch = axes["batch"]
    assert (batch.tried, batch.kept, batch.best and batch.best.run.order) == (3, 2, 3)
    assert (axes["rope"].tried, axes["rope"].best) == (1, None)


@pytest.mark.parametrize(
    ("axis", "knobs", "expected"),
    [
        (None, {"DEPTH": (4, 5)}, "depth"),
        ("my idea", {"DEPTH": (4, 5)}, "depth"),
        ("batch", {"DEPTH": (4, 5), "TOTAL_BATCH_SIZE": (2, 1)}, "batch"),
        (None, {"DEPTH": (4, 5), "TOTAL_BATCH_SIZE": (2, 1)}, "depth"),
        ("optimizer.clip", {"GRAD_CLIP": (None, 1.0)}, "optimizer.clip"),
        (None, {"GRAD_CLIP": (None, 1.0)}, "knob.grad_clip"),
        ("mlp.activation", {}, "mlp.activation"),
        (None, {}, "code"),
    ],
)
def test_the_axis_of_our_experiments(
    experiment: Callable[..., Experiment], axis: str | None, knobs: dict[str, object], expected: str
) -> None:
    assert axis_of_experiment(experiment(1, "keep", 1.0, "", axis, **knobs)) == expected


def test_an_experiment_becomes_a_run(experiment: Callable[..., Experiment]) -> None:
    made = from_experiment(experiment(4, "discard", 1.2, "deeper", DEPTH=(4, 5)))
    assert made == Run(4, "0000004", 1.2, "discard", "depth", {"DEPTH": (4, 5)}, "deeper")


values = st.floats(0.5, 4.0).map(lambda x: round(x, 6))
tries = st.tuples(st.one_of(st.none(), values), st.sampled_from(["batch", "depth", "rope"]))


@given(values, st.lists(tries, max_size=30))
def test_for_any_session_kept_gains_add_up_and_no_try_is_lost(
    start: float, tried: list[tuple[float | None, str]]
) -> None:
    log, incumbent = [run(0, start, "keep", "baseline")], start
    for order, (value, axis) in enumerate(tried, start=1):
        status = "crash" if value is None else "keep" if value < incumbent else "discard"
        log.append(run(order, value, status, axis))
        incumbent = value if value is not None and status == "keep" else incumbent
    found = effects(log, "min")
    assert sum(e.gain or 0 for e in found if e.run.status == "keep") == pytest.approx(start - incumbent, abs=1e-9)
    assert sum(axis.tried for axis in by_axis(found).values()) == len(tried)
