"""The loss curve of a run: few points, timed by our clock, kept in the ledger."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_training as tiny
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_mlx.experiment import Experiment, Measurement
from autoresearch_mlx.store.ledger import Ledger
from autoresearch_mlx.store.records import measurement_from
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.curve import POINTS, Curve


def drawn(*points: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    curve = Curve()
    for share, loss in points:
        curve.add(share, loss)
    return curve.points()


def told(folder: Path, *events: Any, **conditions: Any) -> Measurement:
    """Measure a script that reports these losses, and that asks for one batch when it reports compiling."""
    none, rows = folder / "none", folder / "rows.npy"
    np.save(rows, np.zeros((4, 33), np.uint16))
    limits = {"steps": 1, "budget_seconds": 0.5, "compile_seconds": 10.0, "evaluate_seconds": 60.0, **conditions}
    under = Conditions("train_mlx.py", rows, none, none, 300, 32, 32, "cpu", **limits)
    text = "import json, os, time\nbuild_model = train = None\nfd = int(os.environ['AUTORESEARCH_EVENTS_FD'])\n"
    text += f"for wait, line in {[(w, json.dumps(e)) for w, e in events]!r}:\n"
    text += "    time.sleep(wait)\n    os.write(fd, line.encode() + b'\\n')\n"
    text += "    if 'compile' in line:\n"
    text += "        asks, answers = json.load(open(os.environ['AUTORESEARCH_TRAIN_SPEC']))['rows']\n"
    text += "        os.write(asks, bytes([1, 0, 0, 0]))\n        os.read(answers, 70)\n"
    return tiny.measure(text, folder, under)


def step(loss: Any, wait: float = 0.0) -> tuple[float, dict[str, Any]]:
    return wait, {"event": "step", "step": 1, "loss": loss}


COMPILE, TRAIN = (0.0, {"event": "compile"}), (0.0, {"event": "train"})


def test_losses_of_one_part_of_the_budget_become_their_mean() -> None:
    assert drawn((0.01, 8.0), (0.03, 6.0), (0.5, 4.0)) == ((0.02, 7.0), (0.5, 4.0))


def test_what_comes_after_the_end_of_the_budget_counts_as_its_end() -> None:
    assert drawn((1.7, 3.0)) == ((1.0, 3.0),)


def test_four_decimals_are_kept() -> None:
    assert drawn((0.123456, 1.23456789)) == ((0.1235, 1.2346),)


@given(st.lists(st.tuples(st.floats(), st.floats(-(2.0**63), 2.0**63) | st.sampled_from((math.nan, math.inf)))))
def test_whatever_is_added_the_curve_is_short_finite_and_in_order(points: list[tuple[float, float]]) -> None:
    found = drawn(*points)
    assert len(found) <= POINTS
    assert all(math.isfinite(share) and math.isfinite(loss) for share, loss in found)
    assert [share for share, _ in found] == sorted(share for share, _ in found)


def test_numbers_that_are_not_finite_are_left_out() -> None:
    assert drawn((math.nan, 1.0), (0.5, math.nan), (0.5, math.inf), (0.5, 2.0)) == ((0.5, 2.0),)


def test_a_long_run_keeps_twenty_points_evenly_over_it() -> None:
    points = drawn(*((i / 5000, 9 - i / 1000) for i in range(5000)))
    assert len(points) == POINTS
    gaps = {round(right - left, 2) for (left, _), (right, _) in pairwise(points)}
    assert gaps == {0.05}


def test_the_share_is_taken_by_our_clock_whatever_the_script_says(tmp_path: Path) -> None:
    done = told(tmp_path, COMPILE, step(8.0), TRAIN, step(5.0, wait=1.0), budget_seconds=4.0)
    assert done.curve[0] == (0.0, 8.0)
    share, loss = done.curve[-1]
    assert loss == 5.0
    assert share > 0.2


def test_what_is_told_before_training_or_makes_no_sense_is_no_point(tmp_path: Path) -> None:
    odd = [step(loss) for loss in ("x", None, [1], float("nan"), 10**400)]
    later = (0.5, COMPILE[1])  # the parent has heard of the first step by then
    assert told(tmp_path, step(8.0), later, *odd, (0.0, {"event": "step"})).curve == ()


def test_a_run_that_fails_keeps_the_curve_so_far(tmp_path: Path) -> None:
    failed = (0.0, {"event": "failed", "reason": "the loss is nan at step 3"})
    done = told(tmp_path, COMPILE, step(8.0), TRAIN, failed)
    assert (done.failure, done.curve) == ("crash", ((0.0, 8.0),))


@pytest.mark.slow
def test_a_real_run_has_a_curve_that_falls(tmp_path: Path, under: Conditions) -> None:
    done = tiny.measure(tiny.script(), tmp_path, replace(under, budget_seconds=2.0))
    assert done.failure is None, done.reason
    assert 2 <= len(done.curve) <= POINTS
    assert done.curve[-1][1] < done.curve[0][1]
    assert 0.8 < done.curve[-1][0] <= 1.0


def test_the_ledger_gives_a_curve_back_as_it_was(tmp_path: Path) -> None:
    measured = Measurement(1.5, 42, curve=((0.025, 8.1234), (0.5, 4.0)))
    done = Experiment(0, "keep", 1.5, None, "c", "b", "r", "t", None, {}, "me", "", "", "", (measured,))
    ledger = Ledger(tmp_path)
    ledger.append("session", tag="t", metric="val_bpb", direction="min")
    ledger.finish(done)
    assert ledger.read().history.experiments == (done,)


def test_a_measurement_of_an_old_ledger_has_no_curve() -> None:
    assert measurement_from({"value": 1.0, "seed": 42}).curve == ()
