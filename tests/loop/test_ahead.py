"""The next proposal is prepared while an experiment is measured, and carried over when that experiment is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from conftest import Recorder, Steps, opened
from history_cases import tried

from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Context, Experiment, History, Measurement, Proposal
from autoresearch_mlx.judge.beside import slowed
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research


@dataclass
class Thinker:
    """An agent that can think ahead; its proposals come from a list."""

    steps: list[dict[str, float] | str]
    refused: str | None = None
    name: str = "thinker"
    asked: list[tuple[int, bool, tuple[int, ...], tuple[str, ...]]] = field(default_factory=list)
    """One entry for each call: its number, whether it thinks ahead, the running experiments, and the refusals."""

    def ahead_refused(self, context: Context) -> str | None:
        return self.refused

    def ahead(self, context: Context) -> Proposal | None:
        return self._next(context, True)

    def propose(self, context: Context) -> Proposal:
        return self._next(context, False)

    def _next(self, context: Context, ahead: bool) -> Proposal:
        self.asked.append((context.number, ahead, tuple(r.number for r in context.running), tuple(context.feedback)))
        if not self.steps:
            raise AgentError("no steps left")
        step = self.steps.pop(0)
        text = step if isinstance(step, str) else set_knobs(context.files["solver.py"], step)
        return Proposal(f"try {step}", {"solver.py": text}, agent=self.name)


def night(lab: Lab, agent: Any, screen: Recorder, count: int = 3, **options: Any) -> tuple[Experiment, ...]:
    with opened(lab, "t", judge__mode="margin", judge__margin=0.0, **options) as session:
        research(session, agent, Policy(experiments=count), screen)
        return session.journal().history.experiments[1:]


def told(e: Experiment) -> Mapping[str, Any]:
    return e.talk.get("ahead", {})


def test_the_next_proposal_is_thought_out_while_an_experiment_is_measured(command_lab: Lab, screen: Recorder) -> None:
    agent = Thinker([{"X": 9.0}, {"X": 8.0}, {"X": 7.0}])
    done = night(command_lab, agent, screen)
    assert [(e.number, e.status) for e in done] == [(1, "discard"), (2, "discard"), (3, "discard")]
    assert [told(e).get("beside") for e in done] == [None, 1, 2]
    # The last experiment is followed by none, so nothing is asked beside it.
    assert [asked[:3] for asked in agent.asked] == [(1, False, ()), (2, True, (1,)), (3, True, (2,))]


def test_a_proposal_is_carried_over_when_the_experiment_beside_it_is_kept(command_lab: Lab, screen: Recorder) -> None:
    first, second = night(command_lab, Thinker([{"X": 3.0}, {"Y": 5}]), screen, 2)
    assert (first.status, second.status) == ("keep", "keep")
    assert told(second)["carried_onto"] == 1
    assert second.base == first.commit and second.value == 1.0  # both changes together reach the minimum


def test_a_proposal_that_cannot_be_carried_is_dropped_and_the_agent_is_asked_again(
    command_lab: Lab, screen: Recorder
) -> None:
    mine, theirs = "X = 3.0\nY = 2\nZ = 1\n", "X = 1.0\nY = 2\nZ = 2\n"
    first, second = night(command_lab, Thinker([mine, theirs, {"Y": 5}]), screen, 2)
    assert first.status == "keep"
    assert any("prepared ahead is dropped: experiment 1 was kept" in said for said in screen.said)
    assert (second.title, second.status, told(second)) == ("try {'Y': 5}", "keep", {})


def test_refusals_are_answered_ahead_too(command_lab: Lab, screen: Recorder) -> None:
    agent = Thinker([{"X": 9.0}, {"X": 9.0}, {"X": 8.0}])
    done = night(command_lab, agent, screen, 2)
    assert [e.status for e in done] == ["discard", "discard"]
    assert [asked[1] for asked in agent.asked] == [False, True, True]
    assert "experiment 1" in agent.asked[2][3][0]


@pytest.mark.parametrize(
    "agent",
    [Thinker([{"X": 9.0}, {"X": 8.0}, {"X": 3.0}], refused="no room"), Steps({"X": 9.0}, {"X": 8.0}, {"X": 3.0})],
)
def test_an_agent_that_may_not_or_cannot_is_asked_as_ever(command_lab: Lab, screen: Recorder, agent: Any) -> None:
    done = night(command_lab, agent, screen)
    assert [(e.status, e.talk) for e in done] == [("discard", {}), ("discard", {}), ("keep", {})]


def test_an_error_of_the_agent_ends_the_run_when_it_is_asked_by_the_loop(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t", judge__mode="margin", judge__margin=0.0) as session:
        reason = research(session, Thinker([{"X": 9.0}]), Policy(experiments=3), screen)
    assert reason == "no steps left"


def test_the_speed_of_runs_with_and_without_a_model_beside_them_is_compared() -> None:
    def run(number: int, speed: float, beside: int | None = None) -> Experiment:
        talk = {} if beside is None else {"ahead": {"beside": beside}}
        return tried(number, "discard", measurements=(Measurement(1.0, 42, speed=speed),), talk=talk)

    alone = [run(at, 1.0) for at in range(3)]
    few = History((*alone, run(3, 0.8), run(4, 0.8, 3)), "score", "min")
    assert slowed(few) is None
    busy = [run(3, 0.8), *(run(at, 0.8, at - 1) for at in (4, 5, 6))]
    found = slowed(History((*alone, *busy), "score", "min"))
    assert found is not None and found.too_much
    assert "0.80 in 3 runs during which a model worked on a proposal" in found.words
