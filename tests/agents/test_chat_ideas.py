"""Ideas that wait to be tried: a user's, several from one reply, and a backlog that a model fills."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_cases import KNOB, NAME, X_LINE, Y_LINE, Voice, after, away, blocks, chat, coded, done, fields, reply
from prompt_cases import SOLVER, experiment, small

from autoresearch_mlx.agents.chat.sizes import AT_ONCE, SLOW_LOAD
from autoresearch_mlx.agents.ideas.backlog import add_ideas, open_ideas, read_backlog
from autoresearch_mlx.agents.ideas.idea import YOU, Draft
from autoresearch_mlx.experiment import Context
from autoresearch_mlx.store.talks import calls_of

PATH = "solver.py"


# --- several ideas in one reply

THREE = "\n\n".join(
    f"## Proposal {number}\n{text}"
    for number, text in enumerate(
        [
            coded(X_LINE, X_LINE.replace("4.0", "3.0"), title="X nearer"),
            coded("X = 4.0", "X = 2.5", title="X past it"),
            coded(Y_LINE, Y_LINE.replace("2", "5"), title="Y right", axis="y"),
        ],
        1,
    )
)


def test_several_ideas_of_one_reply_are_used_one_by_one() -> None:
    voice = Voice(THREE, KNOB)
    agent, context = chat(voice, proposals=3), small()
    first = agent.propose(context)
    second = agent.propose(context := after(context, done(first, 3)))
    third = agent.propose(after(context, done(second, 4)))
    assert [p.title for p in (first, second, third)] == ["X 4.0 -> 3.0", "X 4.0 -> 2.5", "Y 2 -> 5"]
    assert len(voice.asks) == 1 and "3 proposals" in voice.prompt()
    assert [p.talk["calls"] for p in (first, second, third)] == [1, 0, 0]


def test_after_a_keep_they_are_read_against_the_new_files_and_dropped_where_they_fit_no_more() -> None:
    voice = Voice(THREE, fields(title="asked anew", knobs={"Y": 7}))
    agent, context = chat(voice, proposals=3), small()
    first = agent.propose(context)
    context = after(context, done(first, 3, "keep"), files=first.files)
    second = agent.propose(context)
    assert second.title == "Y 2 -> 5", "X = 4.0 is no longer there"
    assert second.files == {PATH: SOLVER.replace("4.0", "3.0").replace("Y = 2", "Y = 5")}
    assert agent.propose(after(context, done(second, 4))).title == "Y 2 -> 7"
    assert len(voice.asks) == 2


def test_an_idea_from_before_that_is_refused_is_followed_by_a_question() -> None:
    voice = Voice(THREE, KNOB)
    agent, context = chat(voice, proposals=3), small()
    first = agent.propose(context)
    context = after(context, done(first, 3))
    assert agent.propose(context).title == "X 4.0 -> 2.5"
    anew = agent.propose(replace(context, feedback=("the same as experiment 2",)))
    assert (anew.title, anew.talk["calls"]) == ("X 4.0 -> 3.0", 1)


def test_a_model_that_loads_slowly_is_asked_for_several_ideas_also_after_a_restart() -> None:
    slow = reply(KNOB, load_seconds=SLOW_LOAD + 1)
    voice = Voice(reply(fields(), load_seconds=SLOW_LOAD + 1), reply(blocks(Y_LINE, "Y = 5"), load_seconds=0.02), slow)
    first = chat(voice).propose(small())
    assert len(voice.asks) == 2 and f"Send {AT_ONCE} proposals" not in voice.prompt()
    assert first.talk["load_seconds"] == pytest.approx(SLOW_LOAD + 1.02)
    chat(voice).propose(after(small(), done(first, 3)))
    assert f"Send {AT_ONCE} proposals" in voice.prompt()


def test_a_model_that_is_loaded_already_is_asked_for_one() -> None:
    voice = Voice(reply(KNOB, load_seconds=0.02))
    first = chat(voice).propose(small())
    chat(voice).propose(after(small(), done(first, 3)))
    assert f"Send {AT_ONCE} proposals" not in voice.prompt()


# --- waiting ideas


def test_the_persons_idea_is_what_the_model_is_asked_for(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("Y up to five", "y", "the minimum is there")], YOU)
    voice = Voice(fields(title="Y up", knobs={"Y": 5}))
    agent, context = chat(voice, tmp_path), small()
    assert agent.wished(context)
    proposal = agent.propose(context)
    assert "Y up to five" in voice.prompt()
    assert (proposal.talk["task"], proposal.talk["idea"]) == ("idea", 1)
    (idea,) = read_backlog(tmp_path, context.history)
    assert (idea.state, idea.experiment) == ("taken", 3)
    assert not agent.wished(context)
    (idea,) = read_backlog(tmp_path, after(context, done(proposal, 3)).history)
    assert (idea.state, idea.experiment) == ("done", 3)


def test_an_idea_goes_before_what_is_left_of_an_earlier_reply(tmp_path: Path) -> None:
    voice = Voice(THREE, KNOB)
    agent, context = chat(voice, tmp_path, proposals=3), small()
    first = agent.propose(context)
    add_ideas(tmp_path, [Draft("Y up to five", "y")], YOU)
    context = after(context, done(first, 3))
    second = agent.propose(context)
    assert second.talk["task"] == "idea" and "Y up to five" in voice.prompt()
    assert agent.propose(after(context, done(second, 4))).talk["task"] == "stock"


def test_an_idea_is_given_back_when_the_server_was_silent(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("Y up to five", "y")], YOU)
    voice = Voice(away("hung"), KNOB)
    agent, context = chat(voice, tmp_path), small()
    silent = agent.propose(context)
    assert "gave no answer (hung)" in silent.problem and silent.talk["calls"] == 0
    later = after(context, done(silent, 3, "invalid"))
    (idea,) = open_ideas(tmp_path, later.history)
    assert idea.title == "Y up to five"
    assert agent.propose(later).talk["idea"] == idea.id


IDEAS = json.dumps(
    {
        "ideas": [
            {"title": "halve X", "axis": "x", "hypothesis": "a", "expected_gain": 0.1, "cost": "constant"},
            {"title": "raise Y", "axis": "y", "hypothesis": "b", "expected_gain": 0.1, "cost": "constant"},
            {"title": "a cosine of both", "axis": "shape", "hypothesis": "c", "expected_gain": None, "cost": "lines"},
        ]
    }
)


def fifth() -> Context:
    more = [experiment(n, "discard", 20.0 + n, base="c1", gain=-9.0, knobs={"X": (4.0, 5.0 + n)}) for n in (3, 4)]
    return after(small(), *more)


def purposes(folder: Path, number: int) -> list[str]:
    return [call["purpose"] for call in calls_of(folder, number)]


def test_after_four_experiments_the_backlog_is_filled_from_the_models_reply(tmp_path: Path) -> None:
    voice = Voice(reply(IDEAS, load_seconds=20.0), reply(KNOB, load_seconds=0.5))
    agent, context = chat(voice, tmp_path), fifth()
    assert context.number == 5
    proposal = agent.propose(context)
    assert purposes(tmp_path, 5) == ["ideas", "proposal"]
    assert voice.asks[0].schema is not None and "ideas" in voice.asks[0].schema["properties"]
    assert {i.title for i in read_backlog(tmp_path)} == {"halve X", "raise Y", "a cosine of both"}
    assert {i.source for i in read_backlog(tmp_path)} == {f"model:{NAME}"}
    assert proposal.talk["load_seconds"] == 20.5, "the question for ideas is what the model was loaded for"
    agent.propose(after(context, done(proposal, 5)))
    assert purposes(tmp_path, 6) == ["proposal"]


def test_before_four_experiments_nobody_asks_for_ideas(tmp_path: Path) -> None:
    chat(Voice(KNOB), tmp_path).propose(small())
    assert purposes(tmp_path, 3) == ["proposal"]


@pytest.mark.parametrize("answer", ["no ideas today", away("overflow")], ids=["no ideas", "too long for it"])
def test_a_useless_answer_leaves_the_backlog_and_is_not_asked_for_again_at_once(tmp_path: Path, answer: Any) -> None:
    agent, context = chat(Voice(answer, KNOB), tmp_path), fifth()
    proposal = agent.propose(context)
    assert proposal.files and not read_backlog(tmp_path)
    agent.propose(after(context, done(proposal, 5)))
    assert purposes(tmp_path, 6) == ["proposal"]
