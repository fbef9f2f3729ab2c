"""The calls that ask a model for an edit, and what happens to its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_cases import (
    CODE,
    FACTS,
    KNOB,
    MISS,
    MODEL,
    Y_LINE,
    Voice,
    after,
    away,
    blocks,
    chat,
    coded,
    done,
    fields,
    night,
    office,
    reply,
)
from conftest import Recorder
from ollama_server import OllamaModel, OllamaServer
from prompt_cases import SOLVER, experiment, small
from server_behaviours import busy, say

from autoresearch_mlx.agents.chat import Chat
from autoresearch_mlx.agents.choose_model import open_endpoint
from autoresearch_mlx.agents.edits.fields import schema
from autoresearch_mlx.agents.ideas.backlog import add_ideas, open_ideas
from autoresearch_mlx.agents.ideas.idea import YOU, Draft
from autoresearch_mlx.agents.prompt.tokens import estimate
from autoresearch_mlx.errors import AgentError, EndpointError
from autoresearch_mlx.experiment import History
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.models.wire import ModelFacts
from autoresearch_mlx.store.talks import calls_of

PATH = "solver.py"


def ollama(server: OllamaServer, folder: Path | None = None, **settings: Any) -> Chat:
    with_url = office(folder, base_url=server.url, timeout_seconds=10.0, **settings)
    return Chat(open_endpoint(f"ollama:{MODEL}", with_url), with_url)


def big(**more: Any) -> OllamaModel:
    return OllamaModel(MODEL, parameters="30.5B", **more)


# --- one call or two


def test_a_server_that_enforces_a_schema_is_asked_for_the_fields_then_for_the_code() -> None:
    with OllamaServer(big()) as server:
        server.then(say(fields()), say(blocks(Y_LINE, "Y = 5")))
        proposal = ollama(server).propose(small())
    first, second = (request.body for request in server.chats)
    assert first["format"] == schema(["X", "Y"]) and "format" not in second
    assert "the code is asked for next" in first["messages"][-1]["content"]
    assert [m["role"] for m in second["messages"]] == ["system", "user", "assistant", "user"]
    assert second["messages"][2]["content"] == fields()
    assert (proposal.title, proposal.axis, proposal.rationale) == ("Y 2 -> 5", "knob.y", "3 is best")
    assert proposal.files == {PATH: SOLVER.replace(Y_LINE, "Y = 5")}


def test_knobs_in_the_fields_need_no_second_call() -> None:
    with OllamaServer(big()) as server:
        server.then(say(fields(knobs=[{"name": "X", "value": 3.0}])))
        proposal = ollama(server).propose(small())
    assert len(server.chats) == 1
    assert proposal.files == {PATH: SOLVER.replace("4.0", "3.0")}


def test_an_engine_that_ignores_schemas_is_asked_for_everything_at_once() -> None:
    with OllamaServer(big(format="safetensors")) as server:
        server.then(say(CODE))
        proposal = ollama(server).propose(small())
    (request,) = server.chats
    assert "format" not in request.body
    assert "the code is asked for next" not in request.prompt
    assert proposal.files == {PATH: SOLVER.replace("4.0", "3.0")}


def test_an_idea_whose_code_never_comes_is_a_problem_in_words() -> None:
    proposal = chat(Voice(fields(), "I would rather not.")).propose(small())
    assert not proposal.files
    assert "no code" in proposal.problem


def test_the_context_covers_prompt_and_reply_and_only_grows() -> None:
    with OllamaServer(big()) as server:
        server.then(say("x" * 9000), say("no idea"), say(KNOB))
        agent, context = ollama(server, reply_tokens=2000), small(program="a line of the brief\n" * 400)
        told: tuple[str, ...] = ()
        while (proposal := agent.propose(replace(context, feedback=told))).problem:
            told = (*told, proposal.problem)
    asked = []
    for request in server.chats:
        options, read = request.body["options"], sum(estimate(m["content"]) for m in request.body["messages"])
        assert read + options["num_predict"] <= options["num_ctx"]
        asked.append(options["num_ctx"])
    assert len(asked) == 3 and asked == sorted(asked)


def test_a_model_whose_replies_run_on_is_asked_twice_and_no_more() -> None:
    voice = Voice(reply("word " * 999, finish="length"))
    agent, context = chat(voice), small()
    first = agent.propose(context)
    second = agent.propose(replace(context, feedback=(first.problem,)))
    third = agent.propose(replace(context, feedback=(first.problem, second.problem)))
    assert "cut off" in first.problem and third == second
    assert len(voice.asks) == 2


# --- repairs


def test_a_repair_carries_the_bad_reply_and_the_reason_and_nothing_older() -> None:
    voice = Voice("I would lower X.", MISS, KNOB)
    agent, context = chat(voice), small()
    first = agent.propose(context)
    second = agent.propose(replace(context, feedback=(first.problem,)))
    third = agent.propose(replace(context, feedback=(first.problem, "the loop's own words")))
    assert first.problem and second.problem and third.files
    opening = voice.asks[0].messages
    assert all(ask.messages[:2] == opening for ask in voice.asks)
    assert [m.content for m in voice.asks[1].messages[2:3]] == ["I would lower X."]
    assert first.problem.split("\n")[0][:60] in voice.asks[1].messages[3].content
    assert [m.content for m in voice.asks[2].messages[2:3]] == [MISS]
    assert "the loop's own words" in voice.asks[2].messages[3].content
    assert "I would lower X." not in voice.prompt(2)
    assert len({ask.seed for ask in voice.asks}) == 3, "the same seed could bring the same words again"


def test_what_the_smoke_run_said_goes_back_to_the_model() -> None:
    voice = Voice(CODE, KNOB)
    agent, context = chat(voice), small()
    assert agent.propose(context).files
    assert agent.propose(replace(context, feedback=("smoke run: NameError: name 'gelu'",))).files
    assert "smoke run: NameError: name 'gelu'" in voice.prompt()
    assert CODE in voice.prompt()


def test_a_reply_of_nothing_but_thinking_switches_thinking_off() -> None:
    voice = Voice(reply("", finish="length", reasoning="hm, hm"), KNOB)
    agent, context = chat(voice, think="high"), small()
    first = agent.propose(context)
    assert "thinking" in first.problem
    assert agent.propose(replace(context, feedback=(first.problem,))).files
    assert [ask.think for ask in voice.asks] == ["high", "off"]


def test_a_reply_that_was_cut_off_gets_a_higher_limit_the_next_time() -> None:
    voice = Voice(reply(CODE[:80], finish="length"), KNOB)
    agent, context = chat(voice, reply_tokens=1000), small()
    first = agent.propose(context)
    assert "cut off after 1,000 tokens" in first.problem
    agent.propose(replace(context, feedback=(first.problem,)))
    assert [ask.max_tokens for ask in voice.asks] == [1000, 2000]


@pytest.mark.parametrize("context_tokens", [5_000, 8_192])
def test_prompt_and_reply_stay_within_a_short_context_whatever_was_said(context_tokens: int) -> None:
    voice = Voice("word " * 20_000, "9" * 60_000, reply("x" * 30_000, finish="length"), CODE)
    agent = chat(voice, context_tokens=context_tokens)
    context = small(program="a line of the brief\n" * 400)
    told: tuple[str, ...] = ("",)
    for _ in range(4):
        proposal = agent.propose(replace(context, feedback=told[1:]))
        told = (*told, proposal.problem or "a problem of its own " * 900)
    assert proposal.files
    assert len(voice.asks) == 4
    for ask in voice.asks:
        assert ask.prompt_tokens == sum(estimate(m.content) for m in ask.messages)
        assert ask.prompt_tokens + ask.max_tokens <= context_tokens
        assert ask.max_tokens >= 1000
        assert all(message.content for message in ask.messages)


def test_a_context_too_short_for_the_least_prompt_says_what_to_do() -> None:
    with pytest.raises(AgentError, match="the shortest prompt has about") as caught:
        chat(Voice(KNOB), context_tokens=900).propose(small())
    assert "context_tokens" in caught.value.hint


# --- other bases


def test_after_a_long_stall_a_leap_departs_from_an_older_version() -> None:
    older = SOLVER.replace("4.0", "4.5")
    lost = [experiment(n, "discard", 20.0 + n, base="c1", knobs={"X": (4.0, 5 + n / 9)}) for n in range(2, 23)]
    commits = {"c0": {PATH: older}, "c1": {PATH: SOLVER}}
    history = History((*small().history.experiments[:2], *lost), "score", "min")
    context = small(number=23, history=history, read=lambda commit: commits.get(commit, {}))
    voice = Voice(coded("X = 4.5", "X = 0.5"))
    proposal = chat(voice).propose(context)
    assert (proposal.base, proposal.talk["task"]) == ("c0", "leap")
    assert "X = 4.5" in voice.prompt()
    assert proposal.files == {PATH: older.replace("4.5", "0.5")}


# --- a server that stays away


def test_three_experiments_in_a_row_without_an_answer_end_the_run_with_the_servers_hint() -> None:
    agent, context = chat(Voice(away())), small()
    for number in (3, 4):
        proposal = agent.propose(context)
        assert "gave no answer (unreachable)" in proposal.problem and not proposal.files
        again = agent.propose(replace(context, feedback=(proposal.problem,)))
        assert again == proposal, "asking again would wait again"
        context = after(context, done(proposal, number, "invalid"))
    with pytest.raises(AgentError, match="3 experiments in a row had no answer from voice:30b") as caught:
        agent.propose(context)
    assert caught.value.hint == "start the server"


def test_an_answer_in_between_starts_the_count_again() -> None:
    agent, context = chat(Voice(away(), away(), KNOB, away(), away(), KNOB)), small()
    for number in range(3, 9):
        proposal = agent.propose(context)
        context = after(context, done(proposal, number, "invalid"))
    assert proposal.files


def test_a_server_that_dies_between_idea_and_code_is_told_with_what_was_said() -> None:
    proposal = chat(Voice(fields(), away("dropped"))).propose(small())
    assert "gave no answer (dropped)" in proposal.problem
    assert proposal.talk["calls"] == 1


@pytest.mark.parametrize("kind", ["refused", "overflow"])
def test_what_waiting_cannot_mend_ends_the_run_at_once(kind: str) -> None:
    with pytest.raises(EndpointError):
        chat(Voice(away(kind))).propose(small())


def test_a_model_that_is_not_there_ends_the_night_with_those_that_are(command_lab: Lab, screen: Recorder) -> None:
    with OllamaServer(big(), OllamaModel("other:1b")) as server:
        assert night(command_lab, "ollama:nope:7b", screen, 3, base_url=server.url) == []
    assert "model 'nope:7b' not found" in screen.said[-1]
    assert f"models there: {MODEL}, other:1b" in " ".join(screen.said)


# --- what the ledger records


def test_the_ledger_tells_what_the_asking_took(command_lab: Lab, screen: Recorder) -> None:
    with OllamaServer(big()) as server:
        server.then(say("no idea", load_seconds=0.5), say(fields()), say(blocks(Y_LINE, "Y = 5")))
        (kept,) = night(command_lab, f"ollama:{MODEL}", screen, base_url=server.url)
    talk = kept.talk
    assert (kept.status, kept.agent) == ("keep", f"ollama:{MODEL}")
    assert (talk["agent"], talk["model"], talk["form"]) == (f"ollama:{MODEL}", MODEL, "blocks")
    assert (talk["calls"], talk["repairs"], talk["mismatches"], talk["cut"]) == (3, 1, 0, [])
    assert talk["prompt_tokens"] > 1000 and talk["completion_tokens"] > 10
    assert talk["load_seconds"] == 0.5 and talk["think_seconds"] >= 0
    assert talk["files"] == [f"talks/0001-{n}.json" for n in (1, 2, 3)]
    assert all((command_lab.folder("t") / file).is_file() for file in talk["files"])
    assert kept.seconds["propose"] + talk["ahead"]["seconds"] > 0


def test_unknown_counts_stay_unknown() -> None:
    talk = chat(Voice(KNOB)).propose(small()).talk
    assert (talk["prompt_tokens"], talk["completion_tokens"], talk["load_seconds"], talk["files"]) == (
        None,
        None,
        None,
        [],
    )


def test_what_was_cut_from_the_prompt_is_told() -> None:
    talk = chat(Voice(KNOB), context_tokens=5000).propose(small(program="a line of the brief\n" * 600)).talk
    assert "program.md" in " ".join(talk["cut"])


def test_the_next_brief_is_what_is_sent_and_takes_nothing(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("Y up to five", "y")], YOU)
    voice = Voice(KNOB, facts=replace(FACTS, enforces_schema=True))
    brief = chat(voice, tmp_path).next_brief(small())
    assert not voice.asks and len(open_ideas(tmp_path)) == 1
    chat(voice, tmp_path).propose(small())
    sent: Sequence[str] = [m.content for m in voice.asks[0].messages]
    assert sent == [brief.system, brief.user]
    assert voice.asks[0].prompt_tokens == brief.tokens


def test_a_night_without_its_server_ends_after_three_lost_experiments(command_lab: Lab, screen: Recorder) -> None:
    with OllamaServer(big()) as server:
        server.die()
        lost = night(command_lab, f"ollama:{MODEL}", screen, 9, base_url=server.url)
        assert [(e.number, e.status, e.talk["calls"]) for e in lost] == [(1, "invalid", 0), (2, "invalid", 0)]
        assert all("gave no answer (unreachable)" in e.reason for e in lost)
        assert "3 experiments in a row had no answer" in screen.said[-1]
        server.revive()
        server.then(say(fields(knobs=[{"name": "X", "value": 3.0}])))
        done = night(command_lab, f"ollama:{MODEL}", screen, 1, base_url=server.url)
    assert [(e.number, e.status) for e in done] == [(1, "invalid"), (2, "invalid"), (3, "keep")]


def test_a_server_that_comes_back_within_the_patience_costs_no_experiment(command_lab: Lab, screen: Recorder) -> None:
    with OllamaServer(big()) as server:
        server.then(say("no idea"), busy(503, 0.05), busy(503, 0.05), say(KNOB))
        (kept,) = night(command_lab, f"ollama:{MODEL}", screen, base_url=server.url, patience_seconds=20.0)
    assert kept.status == "keep"
    assert (kept.talk["calls"], kept.talk["repairs"]) == (2, 1), "calls that brought an answer"
    assert [c["error"] is None for c in calls_of(command_lab.folder("t"), 1)] == [True, False, False, True]


class Late(Voice):
    """A server that is started after the night has begun."""

    def __init__(self, tries: int, *answers: str) -> None:
        super().__init__(*answers)
        self.tries = tries

    def facts(self) -> ModelFacts:
        self.tries -= 1
        if self.tries >= 0:
            raise away(retry_after=0.0)
        return super().facts()


def test_what_is_asked_is_made_to_fit_the_model_also_when_its_server_comes_late() -> None:
    said: list[str] = []
    assert chat(Late(3, KNOB), None, said, patience_seconds=20.0).propose(small()).talk["form"] == "blocks"
    assert said[0].endswith("asking again for up to 20 s") and said[1] == "voice:30b answers again"
    silent = chat(Late(9, KNOB), patience_seconds=0.0).propose(small())
    assert "gave no answer (unreachable)" in silent.problem and silent.talk["calls"] == 0


def test_a_prompt_is_shown_at_once_though_the_server_is_away() -> None:
    voice = Late(1000, KNOB)
    assert chat(voice, patience_seconds=600.0).next_brief(small()).user
    assert not voice.asks
