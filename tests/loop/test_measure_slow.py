"""Runs on a machine that is too slow: the reference comes from the baseline, and a second try may end by its steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from conftest import Recorder, Steps, opened

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Assignment, Measurement, Reference, Target
from autoresearch_mlx.lab.config import MachineSettings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.certify import certify
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.targets.contract import TargetBase

OTHERS = "other programs took 80 % of the processor: python"


@dataclass
class Training(TargetBase):
    """A target that reports like a training run; in the runs with these numbers, from 0, the machine is too slow."""

    target: Target
    slow: Sequence[int]
    name: str = "command"
    metric: str = "score"
    direction: Any = "min"
    asked: list[Assignment] = field(default_factory=list)

    def refuse(self, files: Any) -> str | None:
        return None

    def smoke(self, assignment: Assignment) -> Measurement | None:
        return None

    def measure(self, assignment: Assignment) -> Measurement:
        self.asked.append(assignment)
        slow = len(self.asked) - 1 in self.slow
        share = 0.4 if slow else 1.0
        speed = share / (assignment.reference or Reference()).processor_share
        steps = 40 if slow else 100
        facts = {"processor_share": share, "processor_seconds": steps / 10, "product_ms": 0.1, "copy_ms": 3.0}
        done = self.target.measure(assignment)
        counts = replace(done, steps=steps, tokens=200 * steps, machine=facts, speed=speed)
        return replace(counts, tainted=speed < 0.6, disturbed_by=OTHERS if slow else "")


@contextmanager
def training(lab: Lab, *slow: int) -> Iterator[tuple[Session, Training]]:
    with opened(lab, "t") as session:
        target = Training(session.target, slow)
        around = replace(session.worker.surroundings, counts=True, settings=MachineSettings(quiet_seconds=0.0))
        yield session.measuring(target=target, surroundings=around), target


def test_the_first_run_sets_the_reference_of_all_others(command_lab: Lab, screen: Recorder) -> None:
    with training(command_lab) as (session, target):
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
    first, *others = [each.reference for each in target.asked]
    assert first == Reference()
    assert others and set(others) == {Reference(1.0, 0.1, 3.0)}


def test_a_run_that_was_too_slow_is_taken_again_with_the_incumbents_steps(command_lab: Lab, screen: Recorder) -> None:
    with training(command_lab, 3) as (session, target):
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert [each.steps for each in target.asked[:5]] == [None, None, None, None, 100]
    assert [m.tainted for m in done.measurements[:2]] == [True, False]
    assert done.status == "keep"


def test_a_busy_baseline_is_the_reference_when_the_machine_does_not_get_quiet(
    command_lab: Lab, screen: Recorder
) -> None:
    with training(command_lab, *range(99)) as (session, target):
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
        baseline, done = session.journal().history.experiments
    assert [m.tainted for m in baseline.measurements] == [True, False, False, False]
    assert {each.reference for each in target.asked[1:4]} == {Reference(0.4), Reference(0.4, 0.1, 3.0)}
    assert done.status == "keep" and all(m.speed == 1.0 for m in done.measurements)


def test_a_baseline_run_on_a_quieter_machine_replaces_the_reference(command_lab: Lab, screen: Recorder) -> None:
    with training(command_lab, 0, 1) as (session, target):
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
        baseline, _ = session.journal().history.experiments
    assert [m.tainted for m in baseline.measurements] == [True, True, False, False, False]
    assert [m.speed for m in baseline.measurements[1:]] == [0.4, 1.0, 1.0, 1.0]
    assert {each.reference for each in target.asked[3:]} == {Reference(1.0, 0.1, 3.0)}


def test_a_certifications_run_that_was_too_slow_is_taken_again_with_the_steps_of_its_experiment(
    command_lab: Lab, screen: Recorder
) -> None:
    with training(command_lab, 4, 6) as (session, target):
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
        found = certify(session, 2, None, screen)
    assert [each.steps for each in target.asked[4:]] == [None, 100, None, 100, None, None]
    assert found["runs"] == 4


def test_a_certification_that_gives_up_says_who_took_the_processor(command_lab: Lab, screen: Recorder) -> None:
    with training(command_lab, *range(4, 99)) as (session, _):
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
        with pytest.raises(LabError, match=f"3 runs of experiment 0 were disturbed: {OTHERS}"):
            certify(session, 2, None, screen)


def test_what_took_the_processor_is_said_once(command_lab: Lab, screen: Recorder) -> None:
    with training(command_lab, 3, 6, 9) as (session, _):
        research(session, Steps({"X": 3.5}, {"X": 3.0}, {"X": 2.5}), Policy(experiments=3), screen)
    said = [each for each in screen.said if OTHERS in each]
    assert len(said) == 1 and said[0].startswith("note: a run got 40 % of the machine's usual speed: ")


def test_budgets_by_the_wall_clock_know_no_reference(command_lab: Lab, screen: Recorder) -> None:
    with training(command_lab, 3) as (session, target):
        around = replace(session.worker.surroundings, counts=False)
        research(session.measuring(surroundings=around), Steps({"X": 3.5}), Policy(experiments=1), screen)
    assert {(each.reference, each.steps) for each in target.asked} == {(None, None)}
