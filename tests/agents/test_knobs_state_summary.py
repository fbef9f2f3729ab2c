"""What the optimiser knows, as a text for a model."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from prompt_cases import experiment, night, small

from autoresearch_mlx.agents.knobs.state_summary import describe_state
from autoresearch_mlx.experiment import Experiment, History


def line(text: str, beginning: str) -> str:
    return next((line for line in text.splitlines() if line.startswith(beginning)), "")


def test_nothing_known_is_nothing_said() -> None:
    baseline = small().history.experiments[0]
    assert describe_state(replace(small(), history=History((), "score", "min"))) == ""
    assert describe_state(replace(small(), history=History((baseline,), "score", "min"))) == ""


def test_files_without_knobs_have_no_state() -> None:
    assert describe_state(small(files={"solver.py": "print(1)\n"})) == ""
    assert describe_state(small(files={})) == ""


def test_the_best_measured_settings_are_told_by_how_they_differ_from_the_file() -> None:
    lines = describe_state(night()).splitlines()
    assert lines[0].startswith("Best settings measured")
    assert [entry.split()[:2] for entry in lines[1:4]] == [
        ["+0.077145", "MUON_RAMP_STEPS"],
        ["+0.075545", "WEIGHT_DECAY"],
        ["+0.075445", "FINAL_LR_FRAC"],
    ]


def test_what_gained_what_matters_and_what_is_tired_is_told() -> None:
    said = describe_state(night())
    assert "TOTAL_BATCH_SIZE +0.057335 (1 of 2 kept), DEPTH +0.010990 (1 of 3 kept)" in line(said, "Knobs that gained")
    assert line(said, "Expected to matter most").split(": ")[1].startswith("TOTAL_BATCH_SIZE")
    assert "X0_LAMBDA" in line(said, "Moved lately for nothing")
    assert "MATRIX_LR" in line(said, "Narrowed down")
    assert "HEAD_DIM" in line(said, "Never moved yet")


def test_failed_steps_are_told_with_their_values() -> None:
    assert line(describe_state(night()), "Failed") == "Failed: DEPTH 5 -> 11."


def test_candidates_come_with_their_expected_gain() -> None:
    assert "(expected gain " in line(describe_state(small()), "It will try these next by itself")


def test_before_any_gain_was_measured_no_gain_is_expected() -> None:
    baseline = small().history.experiments[0]
    crash = experiment(1, "crash", None, base="c0", knobs={"X": (4.0, 9.0)})
    said = describe_state(small(history=History((baseline, crash), "score", "min")))
    assert "expected gain" not in said
    assert "Failed: X 4.0 -> 9.0." in said


def test_the_same_context_is_described_alike() -> None:
    assert describe_state(night()) == describe_state(night())


@pytest.mark.slow
def test_it_is_a_dozen_lines_however_long_the_session() -> None:
    """Even with more trials than the models look at, the summary stays short and takes little time."""
    rng = np.random.default_rng(7)
    names = {"MATRIX_LR": 0.04, "SCALAR_LR": 0.5, "WEIGHT_DECAY": 0.2, "MLP_RATIO": 4.0, "INIT_SCALE": 1.0}
    done: list[Experiment] = [night().history.experiments[0]]
    for number in range(1, 251):
        name = str(rng.choice(list(names)))
        knobs = {name: (names[name], round(names[name] * float(rng.uniform(0.5, 1.5)), 4))}
        value = 1.8 + float(rng.normal(0, 0.01))
        status = "crash" if number % 9 == 0 else "discard"
        done.append(experiment(number, status, None if status == "crash" else value, base="c0", knobs=knobs))
    began = time.monotonic()
    said = describe_state(night(history=History(tuple(done), "val_bpb", "min"), files=night().read("c0")))
    assert time.monotonic() - began < 20
    assert len(said.splitlines()) <= 12
    assert len(said) < 2500
