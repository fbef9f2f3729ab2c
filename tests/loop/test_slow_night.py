"""A night of the real loop on a machine that other programs slow down, with a target that reports given speeds."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Recorder, git, opened

from autoresearch_mlx.experiment import Assignment, Context, Direction, History, Measurement, Proposal
from autoresearch_mlx.judge.history import noise_of
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import read_knobs, set_knobs
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.targets.contract import Place, TargetBase, TargetKind

STEEP, SIGMA, TOKENS = 0.4, 0.01, 16_000
SPEEDS = (1.0, 1.0, 1.0, 0.35, 0.5, 0.9, 0.3, 0.7, 1.0, 0.45, 0.6, 0.33, 0.8)
"""Speed of the machine in each run, one after the other; the list repeats.  The baseline had the machine to itself."""
NULL, WIN = {"WEIGHT_DECAY": 0.2}, {"MATRIX_LR": 0.03}


@dataclass(frozen=True)
class NoConditions:
    pass


@dataclass(frozen=True)
class SlowedTarget(TargetBase):
    """A target whose loss falls with the number of tokens that a run gets, and by 0.08 if MATRIX_LR is 0.03."""

    metric: str
    direction: Direction
    name: str = "slowed"

    def measure(self, assignment: Assignment) -> Measurement:
        knobs = read_knobs((assignment.tree / "train.py").read_text())
        speed = SPEEDS[len(list(assignment.folder.parent.glob("*-*"))) % len(SPEEDS) - 1]
        noise = random.Random(assignment.seed).gauss(0, SIGMA) + random.Random(f"{knobs}").gauss(0, SIGMA / 3)
        better = 0.08 if knobs["MATRIX_LR"].value == 0.03 else 0.0
        value = 3.0 - better + noise + STEEP * (speed**-0.3 - 1) / 0.3
        curve = tuple((at / 20, 3 * (at / 20) ** -0.13) for at in range(1, 21))
        by = "other programs took the processor: Spotlight" if speed < 0.95 else ""
        tokens = round(TOKENS * speed)
        return Measurement(
            value, assignment.seed, tokens=tokens, curve=curve, speed=speed, stretch=1.0, disturbed_by=by
        )  # fmt: skip


class SlowedKind(TargetKind[NoConditions]):
    name = "slowed"
    conditions = NoConditions
    metric = "loss"
    editable = ("train.py",)

    def build(self, conditions: NoConditions, place: Place) -> SlowedTarget:
        return SlowedTarget(place.settings.target.metric, place.settings.target.direction)


class Walk:
    """An agent that proposes these settings one after another, each on top of the incumbent."""

    name = "walk"

    def __init__(self, *steps: dict[str, float]) -> None:
        self._steps = list(steps)

    def propose(self, context: Context) -> Proposal:
        step = self._steps.pop(0)
        text = context.files["train.py"]
        now = {
            name: value + 0.001 * context.number if name == "WEIGHT_DECAY" else value for name, value in step.items()
        }
        return Proposal(f"{step}", {"train.py": set_knobs(text, now)}, agent=self.name)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    root = tmp_path / "slowed"
    root.mkdir()
    (root / "train.py").write_text("MATRIX_LR = 0.04\nWEIGHT_DECAY = 0.2\n")
    (root / "lab.toml").write_text('[target]\nkind = "loop.test_slow_night:SlowedKind"\n')
    git(root, "init", "--quiet")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "a lab")
    return Lab(root)


def night(lab: Lab, *steps: dict[str, float]) -> History:
    with opened(lab, "t") as session:
        research(session, Walk(*steps), Policy(experiments=len(steps)), Recorder())
        return session.journal().history


@pytest.mark.slow
def test_edits_without_effect_are_no_losses_and_a_real_win_is_found(lab: Lab) -> None:
    history = night(lab, NULL, NULL, NULL, WIN, NULL, NULL)
    tried = history.experiments[1:]
    assert [e.status for e in tried] == ["discard"] * 3 + ["keep"] + ["discard"] * 2
    assert [e.number for e in tried if e.number != 4 and abs(e.effect["z"]) > 3] == []
    assert tried[3].effect["raw"] == pytest.approx(0.08, abs=0.04)
    slope, sigma = noise_of(history)
    assert slope.value == pytest.approx(-STEEP, rel=0.6)
    assert sigma.value == pytest.approx(SIGMA, rel=1.5)
    assert {run.measurement.regime for run in history.repeats} == {0}  # a slow hour is no drift


def test_the_ledger_says_what_was_allowed_for(lab: Lab) -> None:
    first = night(lab, NULL).experiments[1]
    assert "allowing for the machine's speed" in first.reason
    assert first.effect["speed_error"] > 0
    slowest = max(first.measurements, key=lambda m: -(m.speed or math.inf))
    assert slowest.disturbed_by.endswith("Spotlight")
