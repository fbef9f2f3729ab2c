"""A real calibration at a tiny size, and how a session uses one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_training as tiny
from command_runs import call
from conftest import opened
from made_up_machines import calibrated, mac

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.hardware.calibration import Calibration, Pace, load, place, store
from autoresearch_mlx.hardware.doctor_lines import Subject, machine_lines
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.hardware.profile import Profile, choose_profile
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.setup.calibrate import before_first_run, calibrate, calibrate_here
from autoresearch_mlx.setup.timing import Patience, Runs, pace_of_head
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.targets.corpus.prepare import default_cache
from autoresearch_mlx.targets.pretrain.calibrated import basis_here
from autoresearch_mlx.targets.pretrain.kind import expected

TOML = """
[data]
source = "folder"
path = "{text}"
vocab_size = 301
seq_len = 33
eval_rows = 16
"""
"""A shape of rows that no other test has, so that its calibration in the tests' cache affects no other test."""


def small(profile: Profile) -> Profile:
    sizes = {**tiny.KNOBS, "TOTAL_BATCH_SIZE": 8 * 33, "DEVICE_BATCH_SIZE": 8}
    return replace(profile, knobs=sizes, least_batch=33, eval_rows=16)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return tiny.lab(tmp_path / "lab", TOML)


@pytest.mark.slow
def test_a_calibration_measures_this_machine(lab: Lab, tmp_path: Path) -> None:
    machine = read_machine()
    profile = small(choose_profile(machine, "cpu"))
    settings, said = load_settings(lab.root).settings, list[str]()
    patience = Patience(pace=1.0, evaluation=2.0, another=1.0)
    done = calibrate_here(lab, settings, machine, profile, said.append, tmp_path / "cache", patience)
    assert done.basis.device == "cpu" and [p.dtype for p in done.products] == ["float32"]
    assert done.products[0].gflops > 0 and done.bandwidth_gbs is not None and done.bandwidth_gbs > 0
    assert [(p.rows, p.tokens) for p in done.paces] == [(8, 264), (4, 132)]
    for pace in done.paces:
        assert pace.seconds is not None and 0 < pace.seconds < 2 and pace.steps >= 3
    assert done.start_seconds is not None and done.compile_seconds is not None
    assert done.scored is not None and done.scored.rows == 16
    assert done.matrix_params is not None and done.took_seconds > 0
    assert load(basis_here(settings, lab, machine, profile), tmp_path / "cache") == (done, None)
    assert "measuring this machine, about a minute (cpu profile, cpu)" in said
    told = {line.name: line.value for line in machine_lines(Subject(machine, profile, calibration=done))}
    assert " % at 264 tokens a step, of " in told["MFU"]
    plan = expected(settings, profile, done)
    assert plan.overhead_seconds is not None and plan.overhead_source == f"calibrated {now()[:10]}"


@pytest.mark.slow
def test_the_other_head_size_is_timed_at_the_first_batch_that_worked(lab: Lab, tmp_path: Path) -> None:
    profile = small(choose_profile(read_machine(), "cpu"))
    with opened(lab, "t") as session:
        conditions = session.target.conditions  # type: ignore[attr-defined]
    said: list[str] = []
    runs = Runs(conditions, tmp_path, profile, said.append)
    paces = [Pace(8, 264, failure="no memory"), Pace(4, 132, 9, 0.5)]
    found = pace_of_head(runs, 32, paces, Patience(pace=0.2))
    assert found is not None and found.seconds is not None
    assert (found.rows, found.tokens, found.head_dim) == (4, 132, 32)
    assert said[-1].startswith("132 tokens a step, 4 rows a pass, heads of 32: ")
    assert pace_of_head(runs, 16, paces[:1], Patience()) is None


@pytest.mark.slow
def test_a_script_that_does_not_run_is_an_error_and_no_figure(lab: Lab, tmp_path: Path) -> None:
    machine = read_machine()
    profile = small(choose_profile(machine, "cpu"))
    impossible = replace(profile, knobs={**profile.knobs, "HEAD_DIM": 0, "DEVICE_BATCH_SIZE": 1})
    with opened(lab, "t") as session:
        conditions = session.target.conditions  # type: ignore[attr-defined]
    basis = basis_here(load_settings(lab.root).settings, lab, machine, profile)
    with pytest.raises(LabError, match=r"no step of the shipped script could be timed: .*ZeroDivisionError"):
        calibrate(conditions, basis, impossible, say=lambda text: None)


@pytest.fixture
def stored(lab: Lab) -> Iterator[Calibration]:
    """Store a calibration of a machine that does 80 steps of the preset in 20 s, and 160 with half the batch."""
    machine = read_machine()
    profile = choose_profile(machine)
    found = calibrated(machine, 0.25, 0.125, profile=profile, date=now())
    basis = basis_here(load_settings(lab.root).settings, lab, machine, profile)
    yield replace(found, basis=basis)
    place(basis, default_cache()).unlink(missing_ok=True)


@pytest.mark.slow
def test_a_new_session_goes_by_the_calibration_and_an_old_one_by_its_record(lab: Lab, stored: Calibration) -> None:
    with opened(lab, "before") as session:
        assert session.target.conditions.budget_seconds == 20  # type: ignore[attr-defined]
    store(stored, default_cache())
    with opened(lab, "before") as session:
        assert session.preset["TOTAL_BATCH_SIZE"] == 2**11
    with opened(lab, "after") as session:
        assert session.preset["TOTAL_BATCH_SIZE"] == 2**10
        assert session.target.peak.gflops == 14200.0  # type: ignore[attr-defined]
        record = session.journal().session
        assert (record["preset"]["DEVICE_BATCH_SIZE"], record["conditions"]["budget_seconds"]) == (4, 20)
    with opened(lab, "never", hardware__calibrate="never") as session:
        assert session.preset["TOTAL_BATCH_SIZE"] == 2**11
        assert session.target.peak is None  # type: ignore[attr-defined]
    with opened(lab, "profile", hardware__profile="cpu") as session:
        assert session.preset["TOTAL_BATCH_SIZE"] == 2**11
    with opened(lab, "named", budget__seconds=7.0) as session:
        assert session.preset["TOTAL_BATCH_SIZE"] == 2**11
        assert session.target.conditions.budget_seconds == 7  # type: ignore[attr-defined]


@pytest.mark.slow
def test_doctor_and_plan_tell_of_the_calibration(lab: Lab, stored: Calibration) -> None:
    store(stored, default_cache())
    said = " ".join(call(lab, "doctor").stdout.split())  # long lines are wrapped
    assert f"calibration {stored.day}: 14.2 TFLOPS float32" in said
    assert "a smaller batch, since 2,048 tokens in passes of 8 rows gives only 80" in said
    assert f"0:20 training + 0:07 overhead (calibrated {stored.day}): about" in call(lab, "plan").stdout


def test_a_run_on_a_cpu_does_not_calibrate(lab: Lab) -> None:
    said: list[str] = []
    before_first_run(lab, load_settings(lab.root), None, said.append)
    assert said == []


@pytest.mark.slow
def test_a_gpu_is_measured_before_its_first_session_and_what_fails_stops_nothing(lab: Lab) -> None:
    said: list[str] = []
    absent = mac("M4 Max", 32, 36)  # the child processes of this machine have no GPU, so no step can be timed
    resolved = load_settings(lab.root)
    before_first_run(lab, resolved, None, said.append, absent)
    why, _, now = said[0].partition(": ")
    assert why == "this machine was never measured"
    assert now == "the machine is measured now, in about a minute; --no-calibrate skips the measurement"
    assert said[-1].startswith("not calibrated: no step of the shipped script could be timed: ")
    assert said[-1].endswith("; the values of the profile are used")
    said.clear()
    before_first_run(lab, load_settings(lab.root, {"hardware.calibrate": "never"}), None, said.append, absent)
    with opened(lab, "t"):
        pass
    before_first_run(lab, resolved, "t", said.append, absent)
    assert said == []
