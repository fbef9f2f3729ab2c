"""A comparison leaves out runs that other programs spoiled, and says how many there were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autoresearch_mlx.compare.disturbed import left_out_in_words, why_left_out
from autoresearch_mlx.compare.log import Log, of_history, of_reference
from autoresearch_mlx.compare.reference import Reference
from autoresearch_mlx.compare.table import compare_logs, render, to_json
from autoresearch_mlx.experiment import Experiment, History, Measurement

PROGRAMS = "other programs took 60 % of the processor: Spotlight, python"
QUIET, BUSY = Measurement(1.37, 1, speed=1.0), Measurement(1.37, 1, tainted=True, speed=0.3, disturbed_by=PROGRAMS)
ASLEEP = Measurement(1.37, 1, tainted=True, extra={"tainted": "the machine slept for 9 s"})


def blurred(**fields: Any) -> dict[str, Any]:
    return {"effect": {"raw": -0.01, "error": 0.02, **fields}}


@pytest.fixture
def tried(experiment: Callable[..., Experiment]) -> Callable[..., Experiment]:
    """Return experiment 2 with these fields."""

    def make(status: str = "discard", *runs: Measurement, **fields: Any) -> Experiment:
        value = None if status == "invalid" else 1.38
        return replace(experiment(2, status, value, DEPTH=(4, 5)), measurements=runs, **fields)

    return make


@pytest.mark.parametrize(
    ("status", "runs", "why"),
    [
        ("invalid", (BUSY, BUSY, BUSY), "other programs used the processor"),
        ("invalid", (QUIET, BUSY, BUSY, BUSY), "other programs used the processor"),
        ("invalid", (replace(BUSY, disturbed_by="the run was stopped for 40 % of the time"),) * 3, "too slow"),
        ("invalid", (ASLEEP, ASLEEP), "each run of these experiments was disturbed"),
        ("discard", (BUSY, QUIET), ""),  # the undisturbed run counts
        ("invalid", (QUIET,), ""),  # the fault of its own code
        ("crash", (Measurement(None, 1, "crash", "it broke"),), ""),
        ("discard", (), ""),
    ],
)
def test_an_experiment_is_left_out_where_no_run_of_it_counts(
    tried: Callable[..., Experiment], status: str, runs: tuple[Measurement, ...], why: str
) -> None:
    found = why_left_out(tried(status, *runs))
    assert why in found
    assert bool(found) == bool(why)


def test_or_where_the_speed_is_most_of_its_error(tried: Callable[..., Experiment]) -> None:
    slow = replace(QUIET, speed=0.5, disturbed_by=PROGRAMS)
    assert why_left_out(tried("discard", slow, **blurred(speed_error=0.019))) == "other programs used the processor"
    assert why_left_out(tried("discard", slow, **blurred(speed_error=0.002))) == ""
    assert why_left_out(tried("discard", slow, **blurred())) == ""
    assert why_left_out(tried("keep", slow, **blurred(speed_error=0.019))) == ""  # later ones were compared with it


def test_the_reasons_are_counted() -> None:
    assert left_out_in_words(["slept", "busy", "", "busy", ""]) == (
        "2 experiments left out: busy",
        "1 experiment left out: slept",
    )


def test_a_comparison_says_what_it_leaves_out_and_judges_the_rest(
    night: list[Experiment], tried: Callable[..., Experiment], h100: Reference
) -> None:
    def log(*experiments: Experiment) -> Log:
        return of_history(History(experiments, "val_bpb", "min"), "M4 Pro")

    night[2] = tried("invalid", BUSY, BUSY, BUSY)
    found = compare_logs(log(*night), of_reference(h100))
    assert "M4 Pro: 1 experiment left out: other programs used the processor." in render(found, 100)
    assert to_json(found)["here"]["left_out"] == 1
    depth = next((row for row in found.axes if row.axis == "depth"), None)
    assert depth is None or depth.here is None


def test_an_interrupted_experiment_did_not_fail(
    night: list[Experiment], tried: Callable[..., Experiment], h100: Reference
) -> None:
    night[2] = replace(night[2], status="interrupted")
    found = compare_logs(of_history(History(tuple(night), "val_bpb", "min"), "M4 Pro"), of_reference(h100))
    (row,) = [line.split() for line in render(found, 100).splitlines() if line.startswith("interrupted ")]
    assert sorted(row[1:]) == ["0", "1"]
    (failed,) = [line.split() for line in render(found, 100).splitlines() if line.startswith("crashed or failed")]
    assert int(failed[-1]) == to_json(found)["here"]["failed"] - 1
