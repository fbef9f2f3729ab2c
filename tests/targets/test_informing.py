"""What a target reports besides values reaches the agent, and its warning about a hopeless start is printed first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conftest import Recorder, Steps, opened
from toy_target import Toy, ToyConditions, ToyKind

from autoresearch_mlx.agents.prompt.brief import write_brief
from autoresearch_mlx.experiment import Assignment, History, Measurement
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.targets.contract import Finding, Place


@dataclass(frozen=True)
class Telling(Toy):
    def measure(self, assignment: Assignment) -> Measurement:
        return Measurement(float(len((assignment.tree / "solver.py").read_text())), assignment.seed)

    def findings(self, folder: Path, history: History) -> str:
        return f"{len(history.experiments)} experiments; ```the longest word is short```"

    def appraise(self, runs: Sequence[Measurement]) -> Sequence[Finding]:
        return [Finding("check", "words", "no word is left to remove", "fail", "write a longer text")]


class TellingKind(ToyKind):
    def build(self, conditions: ToyConditions, place: Place) -> Telling:
        wanted = place.settings.target
        return Telling(conditions, wanted.metric, wanted.direction)


def test_the_loop_passes_them_on(command_lab: Lab, screen: Recorder) -> None:
    (command_lab.root / "lab.toml").write_text(
        '[target]\nkind = "test_informing:TellingKind"\neditable = ["solver.py"]\n'
    )
    (command_lab.root / "test_informing.py").write_text(Path(__file__).read_text())
    agent = Steps("X = 1\nY = 2\n")
    with opened(command_lab) as session:
        research(session, agent, Policy(experiments=1), screen)
    assert "words: no word is left to remove; write a longer text" in screen.said
    (context,) = agent.contexts
    prompt = write_brief(context, 20_000, "whole").user
    assert "# What the runs showed" in prompt and "1 experiments; '''the longest word is short'''" in prompt
    short = write_brief(context, write_brief(context, 20_000, "whole").tokens - 1, "whole")
    assert "the longest word" not in short.user or short.cut
