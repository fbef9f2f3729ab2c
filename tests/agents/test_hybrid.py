"""The optimiser and a model take turns over one history, and replace each other when one cannot propose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from chat_cases import KNOB, MODEL, NAME, Voice, away, coded, fields, night, office, reply, whole
from conftest import Recorder, opened
from ollama_server import OllamaModel, OllamaServer
from openai_server import OpenAIServer
from prompt_cases import experiment, small
from server_behaviours import say

from autoresearch_mlx.agents.chat import Chat
from autoresearch_mlx.agents.hybrid import (
    FIRST_REST,
    LONGEST_REST,
    MORE,
    MOST,
    STALLED,
    TIME_SHARE,
    Hybrid,
    due,
    earned,
    share_now,
    turn,
)
from autoresearch_mlx.agents.ideas.backlog import add_ideas, open_ideas
from autoresearch_mlx.agents.ideas.idea import YOU, Draft
from autoresearch_mlx.agents.knobs.knobs_agent import Knobs
from autoresearch_mlx.agents.knobs.memory import first_values, remember
from autoresearch_mlx.agents.knobs.space import read_space
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Context, Experiment, History, Proposal
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.models.wire import Ask, Reply

KNOBLESS = {"solver.py": "def x():\n    return 4.0\n"}
LOWER = coded("    return 4.0", "    return 3.0", title="lower")


@dataclass
class Clock:
    """A clock that moves only when the test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Pair:
    hybrid: Hybrid
    voice: Voice
    clock: Clock
    said: list[str]

    def propose(self, number: int = 3, *feedback: str, **changes: Any) -> Proposal:
        return self.hybrid.propose(small(number=number, feedback=feedback, **changes))


def pair(*answers: Any, folder: Path | None = None, **settings: Any) -> Pair:
    """Return the pair that `--agent hybrid:MODEL` makes, with the test's clock."""
    said: list[str] = []
    voice, clock = Voice(*answers), Clock()
    shared = office(folder, said, **settings)
    return Pair(Hybrid(Chat(voice, shared, patience_seconds=0.0), Knobs(7), shared, clock), voice, clock, said)


# --- whose turn


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.29, 0.3, 1 / 3, 0.5, 0.7, 0.99, 1.0])
def test_over_a_hundred_experiments_the_share_is_the_settings(share: float) -> None:
    hybrid = pair(KNOB, share=share).hybrid
    turns = [number for number in range(1, 101) if hybrid.models_turn(small(number=number))]
    assert abs(len(turns) - 100 * share) <= 1
    gaps = [b - a for a, b in pairwise(turns)]
    assert not gaps or max(gaps) - min(gaps) <= 1, "evenly spread"


def test_the_first_turns_at_the_usual_share() -> None:
    assert [n for n in range(1, 12) if turn(n, 0.3)] == [4, 7, 10]


def stalled(experiments: int) -> History:
    done = [experiment(n, "discard", 20.0) for n in range(2, 2 + experiments)]
    return History((experiment(0, "keep", 11.0), experiment(1, "keep", 10.0), *done), "score", "min")


@pytest.mark.parametrize(
    ("share", "experiments", "now"),
    [
        (0.3, STALLED - 1, 0.3),
        (0.3, STALLED, MOST),
        (0.1, STALLED, 0.1 + MORE),
        (0.8, STALLED, 0.8),
        (0.0, 50, 0.0),
        (1.0, 50, 1.0),
    ],
)
def test_after_a_stall_the_model_is_asked_more_often(share: float, experiments: int, now: float) -> None:
    assert share_now(share, stalled(experiments)) == pytest.approx(now)


def recorded(models: str, optimisers: str) -> History:
    """Return a history in which model and optimiser take turns; ``k`` stands for a keep, ``d`` for a discard."""
    done = [experiment(0, "keep", 11.0)]
    for of_model, of_optimiser in zip(models, optimisers, strict=True):
        for letter, talk in ((of_model, {"agent": NAME, "form": "menu", "calls": 1}), (of_optimiser, {})):
            done.append(experiment(len(done), "keep" if letter == "k" else "discard", 20.0, talk=talk))
    return History(tuple(done), "score", "min")


@pytest.mark.parametrize(
    ("models", "optimisers", "factor"),
    [
        ("", "", 1.0),
        ("dddd", "dddd", 1.0),
        ("kdkd", "kkdd", 1.0),
        ("kkkk", "kddd", 1.0),
        ("dddd", "kkdd", 1 / 3),
        ("kddd", "kkdd", 2 / 3),
        ("dddddddddddd", "kkkkdddddddd", 1 / 5),
    ],
)
def test_a_model_earns_its_share_by_keeping_as_often_as_the_optimiser(
    models: str, optimisers: str, factor: float
) -> None:
    assert earned(recorded(models, optimisers), NAME) == pytest.approx(factor)
    assert earned(recorded(models, optimisers), "another model") == 1.0


def test_only_the_experiments_since_the_models_first_are_compared() -> None:
    before = [experiment(n, "keep", 20.0) for n in range(5)]
    after = [replace(e, number=e.number + 4) for e in recorded("dd", "kd").experiments[1:]]
    lost = replace(after[0], status="interrupted", number=20)
    history = History((*before, *after, lost), "score", "min")
    assert earned(history, NAME) == pytest.approx(1 / 2), "one keep was due, and an interrupted run is no loss"


def test_the_share_falls_with_the_record_also_after_a_stall() -> None:
    history = recorded("dddddddd", "kkdddddd")
    turns = [number for number in range(17, 30) if due(number, 0.3, history, NAME)]
    assert share_now(0.3, history) == MOST
    assert turns == [20, 22, 24, 26, 28], "the last was number 15; at a share of one in six the next is about number 21"


@pytest.mark.parametrize(("kept", "least", "most"), [(0, 5, 15), (3, 28, 30)])
def test_a_model_that_never_gains_is_asked_ever_more_rarely_but_never_given_up(
    kept: int, least: int, most: int
) -> None:
    """The optimiser keeps every third of its own; the model keeps none of its own, or every third as well."""
    hybrid, done = pair(KNOB).hybrid, [experiment(0, "keep", 11.0)]
    tries = [0, 0]
    for number in range(1, 101):
        history = History(tuple(done), "score", "min")
        asked = hybrid.models_turn(small(number=number, history=history))
        tries[asked] += 1
        keep = tries[asked] % 3 == 1 and (kept > 0 or not asked)
        talk = {"agent": NAME, "form": "menu", "calls": 1} if asked else {}
        done.append(experiment(number, "keep" if keep else "discard", 20.0, talk=talk))
    turns = [e.number for e in done if e.talk]
    assert least <= len(turns) <= most
    assert turns[-1] > 70, "it is asked late in the night as well"


def test_with_a_share_of_one_the_record_does_not_count() -> None:
    always = pair(KNOB, share=1.0).hybrid
    history = recorded("dddddddd", "kkdddddd")
    assert all(always.models_turn(small(number=n, history=history)) for n in range(17, 27))


def test_a_share_of_none_asks_nobody_and_one_of_all_asks_always() -> None:
    never, always = pair(KNOB, share=0.0), pair(KNOB, share=1.0)
    for number in range(1, 6):
        assert never.propose(number).agent == "knobs"
        assert always.propose(number).agent == NAME
    assert len(never.voice.asks) == 0 and len(always.voice.asks) == 5


def test_the_model_is_told_what_the_optimiser_knows() -> None:
    always = pair(KNOB, share=1.0)
    always.propose()
    assert "Best settings measured" in always.voice.prompt()


def test_the_persons_idea_is_the_models_turn_at_once(tmp_path: Path) -> None:
    never = pair(fields(title="Y up", knobs={"Y": 5}), folder=tmp_path, share=0.0)
    assert never.propose(3).agent == "knobs"
    add_ideas(tmp_path, [Draft("Y up to five", "y")], YOU)
    proposal = never.propose(4)
    assert (proposal.agent, proposal.talk["idea"]) == (NAME, 1)
    assert "Y up to five" in never.voice.prompt()
    assert never.propose(5).agent == "knobs"


# --- refusals


def test_a_refused_proposal_goes_back_to_its_own_author() -> None:
    always = pair("no idea", KNOB, share=1.0)
    first = always.propose(3)
    assert (first.agent, bool(first.problem)) == (NAME, True)
    second = always.propose(3, first.problem)
    assert (second.agent, bool(second.files)) == (NAME, True)
    assert "no idea" in always.voice.prompt()
    never = pair(KNOB, share=0.0)
    moves = [never.propose(3, *["a duplicate"] * n) for n in range(3)]
    assert [m.agent for m in moves] == ["knobs"] * 3
    assert len({m.files["solver.py"] for m in moves}) == 3, "each refusal passes on to the next"


def test_a_model_that_falls_silent_in_a_repair_is_stood_in_for() -> None:
    always = pair("no idea", away(), share=1.0)
    first = always.propose(3)
    second = always.propose(3, first.problem)
    assert (second.agent, bool(second.files)) == ("knobs", True)
    third = always.propose(3, first.problem, "the same as experiment 2")
    assert third.agent == "knobs" and third.files != second.files
    assert len(always.voice.asks) == 2


# --- a model that does not answer


def test_a_dead_server_costs_no_experiment_and_is_said_once_until_it_has_rested() -> None:
    always = pair(away(), share=1.0)
    for number in (3, 4, 5):
        assert always.propose(number).agent == "knobs"
    assert len(always.voice.asks) == 1
    assert always.said == [
        "voice:30b: no server answers at 127.0.0.1:1 (start the server);"
        f" knobs continues alone for the next {FIRST_REST:.0f} s"
    ]
    always.clock.now += FIRST_REST
    assert always.propose(6).agent == "knobs"
    assert len(always.voice.asks) == 2
    assert always.said[-1].endswith(f"knobs continues alone for the next {2 * FIRST_REST:.0f} s")
    always.clock.now += FIRST_REST
    always.propose(7)
    assert len(always.voice.asks) == 2


def test_a_model_that_comes_back_gets_its_turns_again() -> None:
    always = pair(away(), KNOB, away("hung"), KNOB, share=1.0)
    assert always.propose(3).agent == "knobs"
    always.clock.now += FIRST_REST
    assert always.propose(4).agent == NAME
    assert always.propose(5).agent == "knobs"
    assert always.said[-1].endswith(f"for the next {FIRST_REST:.0f} s"), "its rest is short again"


def test_the_rest_grows_to_half_an_hour_and_no_longer() -> None:
    always = pair(away(), share=1.0)
    for number in range(3, 13):
        always.propose(number)
        always.clock.now += LONGEST_REST
    assert len(always.voice.asks) == 10
    assert always.said[-1].endswith(f"for the next {LONGEST_REST:.0f} s")


@pytest.mark.parametrize("kind", ["refused", "overflow"])
def test_what_waiting_cannot_mend_leaves_the_optimiser_alone_for_the_run(kind: str) -> None:
    always = pair(away(kind), share=1.0)
    assert always.propose(3).agent == "knobs"
    always.clock.now += 1e9
    assert always.propose(4).agent == "knobs"
    assert len(always.voice.asks) == 1
    assert always.said[-1].endswith("knobs continues alone for the rest of this run")


def test_a_cap_that_is_reached_leaves_the_optimiser_alone_for_the_run() -> None:
    always = pair(reply(KNOB, prompt_tokens=900, completion_tokens=100), share=1.0, max_tokens_total=3000)
    agents = [always.propose(number).agent for number in range(3, 9)]
    assert agents[0] == NAME and agents[-1] == "knobs" and agents == sorted(agents, reverse=True)
    assert "max_tokens_total = 3,000" in always.said[-1]
    assert len(always.said) == 1


def test_an_idea_waits_while_the_model_is_away(tmp_path: Path) -> None:
    always = pair(away(), KNOB, folder=tmp_path, share=1.0)
    add_ideas(tmp_path, [Draft("Y up to five", "y")], YOU)
    stood_in = always.propose(3)
    done = experiment(3, "discard", 20.0, agent=stood_in.agent, talk=stood_in.talk)
    history = History((*small().history.experiments, done), "score", "min")
    assert [i.title for i in open_ideas(tmp_path, history)] == ["Y up to five"]
    always.clock.now += FIRST_REST
    assert always.propose(4, history=history).talk["idea"] == 1


def test_a_server_that_was_silent_for_minutes_rests_in_proportion() -> None:
    always = pair(away("hung"), share=1.0)
    slow, asked = always.voice.ask, always.voice.asks

    def silent(ask: Ask) -> Reply:
        always.clock.now += 120.0
        return slow(ask)

    always.voice.ask = silent  # type: ignore[method-assign]
    always.propose(3)
    always.clock.now += 120.0 / TIME_SHARE - 1
    assert always.propose(4).agent == "knobs" and len(asked) == 1
    always.clock.now += 2
    always.propose(5)
    assert len(asked) == 2


# --- the model's share of the time


def timed(number: int, model: str | None, propose: float, measure: float = 10.0) -> Experiment:
    talk = {} if model is None else {"agent": model, "form": "menu", "calls": 1}
    return experiment(number, "discard", 20.0, talk=talk, seconds={"propose": propose, "measure": measure})


@pytest.mark.parametrize(
    ("propose", "measure", "asked"), [(1.0, 10.0, True), (30.0, 10.0, False), (30.0, 300.0, True), (None, 10.0, True)]
)
def test_the_model_is_asked_only_while_its_share_of_the_time_is_small(
    propose: float | None, measure: float, asked: bool
) -> None:
    done = [timed(n, None, 0.1, measure) for n in range(1, 7)]
    if propose is not None:
        done[3] = timed(4, NAME, propose, measure)
    history = History((experiment(0, "keep", 11.0), *done), "score", "min")
    assert pair(KNOB).hybrid.models_turn(small(number=7, history=history)) is asked
    assert pair(KNOB, share=1.0).hybrid.models_turn(small(number=7, history=history)), "share = 1 lifts the limit"


def test_over_a_night_a_slow_model_stays_within_its_share() -> None:
    hybrid, done = pair(KNOB).hybrid, [experiment(0, "keep", 11.0, seconds={"measure": 30.0})]
    for number in range(1, 61):
        history = History(tuple(done), "score", "min")
        model = NAME if hybrid.models_turn(small(number=number, history=history)) else None
        done.append(timed(number, model, 25.0 if model else 0.1))
    spent = sum(e.seconds["propose"] for e in done if e.talk.get("agent") == NAME)
    assert 0 < spent <= TIME_SHARE * sum(sum(e.seconds.values()) for e in done)


# --- an optimiser with nothing to move


def test_a_file_without_knobs_is_the_models_every_time() -> None:
    rare = pair(LOWER, share=0.01)
    for number in range(3, 6):
        proposal = rare.propose(number, files=KNOBLESS)
        assert (proposal.agent, proposal.title) == (NAME, "lower")
    assert rare.said == ["knobs: no knob to move in the editable files; asking voice:30b"], "said once"


def test_where_nobody_can_stand_in_the_model_is_waited_for() -> None:
    for share in (0.0, 1.0):
        only = pair(
            away("busy", retry_after=0.0), away("busy", retry_after=0.0), LOWER, share=share, patience_seconds=9
        )
        assert only.propose(3, files=KNOBLESS).title == "lower"


def test_where_nobody_can_stand_in_three_lost_experiments_end_the_run() -> None:
    only = pair(away(), share=0.3)
    for number in (3, 4):
        proposal = only.propose(number, files=KNOBLESS)
        assert "gave no answer" in proposal.problem
        assert only.propose(number, proposal.problem, files=KNOBLESS) == proposal
    with pytest.raises(AgentError, match="3 experiments in a row had no answer"):
        only.propose(5, files=KNOBLESS)


def test_with_neither_a_model_nor_a_knob_the_run_ends() -> None:
    with pytest.raises(AgentError, match="no knob to move"):
        pair(away("refused"), share=1.0).propose(3, files=KNOBLESS)


# --- nights


def test_a_night_without_the_server_is_the_optimisers_and_says_so_once(command_lab: Lab, screen: Recorder) -> None:
    with OllamaServer(OllamaModel(MODEL)) as server:
        server.die()
        done = night(command_lab, f"hybrid:ollama:{MODEL}", screen, 3, base_url=server.url, share=1.0)
    assert [e.agent for e in done] == ["knobs"] * 3
    assert [e.number for e in done] == [1, 2, 3]
    assert len([text for text in screen.said if MODEL in text]) == 1
    assert f"continues alone for the next {FIRST_REST:.0f} s" in " ".join(screen.said)


def test_a_model_that_is_not_there_is_said_once_and_the_night_goes_on(command_lab: Lab, screen: Recorder) -> None:
    with OllamaServer(OllamaModel(MODEL)) as server:
        done = night(command_lab, "hybrid:ollama:nope:7b", screen, 3, base_url=server.url, share=1.0)
    assert [e.agent for e in done] == ["knobs"] * 3
    (said,) = [text for text in screen.said if "nope" in text]
    assert "models there" in said and said.endswith("knobs continues alone for the rest of this run")


RENAMED = "Z = 3.2  # knob: lin 0 10\nY = 2  # knob: int 0 8\nX = Z\n"
ADDED = "Z = 3.2  # knob: lin 0 10\nY = 3  # knob: int 0 8\nW = 0.5  # knob: lin 0 1\nX = Z\n"
REMOVED = "Z = 3.2  # knob: lin 0 10\nY = 4\nX = Z\n"


def seen(lab: Lab) -> Context:
    """Return the inputs from which the next proposal would be made."""
    with opened(lab, "t") as session:
        journal = session.journal()
        files = session.workspace.read(session.incumbent(journal.history))
        return session.context(journal.history, journal.next_number, files)


@pytest.mark.slow
def test_the_optimiser_takes_in_what_the_model_did_to_the_knobs(command_lab: Lab, screen: Recorder) -> None:
    with OpenAIServer() as server:
        settings = {"base_url": server.base_url, "share": 1.0, "format": "whole"}

        def model(*answers: str) -> list[str]:
            server.then(*map(say, answers))
            return [e.status for e in night(command_lab, f"hybrid:{MODEL}", screen, len(answers), **settings)]

        assert model(fields(knobs={"X": 3.5}), fields(title="Y down", knobs={"Y": 1})) == ["keep", "discard"]
        assert model(whole(RENAMED, title="X becomes Z"))[-1] == "keep"
        context = seen(command_lab)
        space = read_space(context.files, first_values(context.history))
        memory = remember(space, context.history)
        assert [d.name for d in space] == ["Z", "Y"]
        # X is gone, and so is everything learnt of it; that Y = 1 lost is still known.
        assert [t.point for t in memory.trials if t.moved] == [(3.2, 1)]
        assert memory.trials[-1].gain == pytest.approx(-7.0)

        assert model(whole(ADDED, title="a new one"))[-1] == "keep"
        context = seen(command_lab)
        space = read_space(context.files, first_values(context.history))
        memory = remember(space, context.history)
        assert [d.name for d in space] == ["Z", "Y", "W"]
        y = [(t.origin[1], t.point[1], t.kept) for t in memory.trials if 1 in t.moved]
        assert y == [(2, 1, False), (2, 3, True)]
        assert Knobs(7).propose(context).files != context.files

        server.then(say("no ideas today"))  # after four experiments the model is asked
        assert model(whole(REMOVED, title="no knob for W"))[-1] == "keep"
        context = seen(command_lab)
        assert {d.name for d in read_space(context.files, first_values(context.history))} == {"Z", "Y"}
        proposal = Knobs(7).propose(replace(context, seed=1))
        assert proposal.files
        assert "W" not in proposal.files["solver.py"], "a knob that is gone comes back by nobody's hand"
