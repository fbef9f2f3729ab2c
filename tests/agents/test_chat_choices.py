"""A small model chooses: the menu and the values that it is shown, how its answers are read, and what bad ones cost."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from chat_cases import CODE, FACTS, KNOB, Voice, after, away, chat, done, fields, reply
from openai_server import OpenAIServer
from prompt_cases import night, small
from server_behaviours import fail, hang, say

from autoresearch_mlx.agents.chat import Chat
from autoresearch_mlx.agents.chat.opening import MENU
from autoresearch_mlx.agents.chat.sizes import CHOICE, FIELDS, USUAL_CONTEXT
from autoresearch_mlx.agents.chat.sizes import CODE as TIMES
from autoresearch_mlx.agents.choose_model import open_endpoint
from autoresearch_mlx.agents.edits.choices import menu_schema, read_choice, values_schema
from autoresearch_mlx.agents.knobs.choices import knob_values, menu
from autoresearch_mlx.agents.knobs.ranked_moves import ranked_moves
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.prompt.tokens import estimate
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.lab.source import describe, read_knobs
from autoresearch_mlx.models.wire import Ask, ModelFacts

TINY = replace(FACTS, billions=0.135, context_tokens=8192)
STRICT = replace(TINY, enforces_schema=True)


def pick(number: int) -> str:
    return json.dumps({"choice": number, "why": "it looks best"})


# --- the menu


def test_the_menu_holds_the_optimisers_best_moves_on_different_axes_in_another_order() -> None:
    context = night()
    shown, ranked = menu(context), ranked_moves(context)
    assert {describe(m.changes) for m in shown} == {describe(m.changes) for m in ranked} and len(shown) == 10
    assert len({m.axis for m in shown}) == 10
    orders = [[describe(m.changes) for m in menu(replace(context, number=n))] for n in range(27, 31)]
    assert len({order.index(max(order)) for order in orders}) > 1, "the place of an entry says nothing"


def test_a_small_model_is_sent_a_menu_and_no_file() -> None:
    voice, context = Voice(pick(3), facts=STRICT), night()
    proposal = chat(voice).propose(context)
    prompt = voice.prompt()
    assert "def build_model" not in prompt and estimate(prompt) < 1000
    assert "H100 " in prompt and "Apple " in prompt and "leave the tokenizer and the softcap alone" in prompt
    chosen = menu(context, MENU)[2]
    assert (proposal.title, proposal.axis) == (chosen.name.title, chosen.axis)
    assert proposal.files == chosen.files
    assert "it looks best" in proposal.rationale and "expected" in proposal.rationale
    assert (proposal.talk["form"], proposal.talk["task"]) == ("menu", "choice")
    assert voice.asks[0].schema == menu_schema(MENU) and voice.asks[0].max_tokens == CHOICE


def test_a_menu_names_the_point_that_its_moves_start_from_once() -> None:
    voice, context = Voice(pick(3), facts=STRICT), night()
    chat(voice).propose(context)
    prompt = voice.prompt()
    start = menu(context, MENU)[0].name
    assert f"All of them start from experiment {start.number}" in prompt
    assert prompt.count(start.start_words) == 1
    lines = [line for line in prompt.splitlines() if line.partition(".")[0].isdigit()]
    assert len(lines) == MENU and all(line.count(" -> ") <= 3 for line in lines)


def test_a_menu_of_moves_of_the_incumbent_names_no_other_point() -> None:
    voice = Voice(pick(1), facts=STRICT)
    chat(voice).propose(small())
    assert "An optimiser would make one of these changes next" in voice.prompt()
    assert "All of them start from" not in voice.prompt()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7),
        ('{"choice": 7, "why": "the batch is 2**14"}', 7),
        ('```json\n{"choice": 7}\n```', 7),
        ('{"choice": 7, "why": "it goes on and on and', 7),
        ("7. MATRIX_LR 0.04 -> 0.03 because 2 runs of 5", 7),
        ("**7**", 7),
        ("I would choose number 7.", 7),
        ("My answer is 7, since 0.04 is too high", 7),
        ("After some thought line 7 seems best.", 7),
        ("none of them", None),
        ("0.04 is too high", None),
        ("3 or 4? No: 11", 3),
        ("11", None),
        ("0", None),
        ("between 3 and 4", None),
        ("", None),
    ],
)
def test_a_choice_is_read_however_it_is_written(text: str, number: int | None) -> None:
    found, _, problem = read_choice(text, 10)
    assert found == number
    assert bool(problem) == (number is None)


def test_a_model_that_writes_a_proposal_in_place_of_a_number_is_taken_at_its_word() -> None:
    for text in (KNOB, CODE):
        proposal = chat(Voice(text, facts=TINY)).propose(small())
        assert proposal.files["solver.py"].startswith("X = 3.0") and proposal.title == "X 4.0 -> 3.0"


def test_a_bad_choice_is_asked_for_again_under_the_same_schema_and_without_the_rambling() -> None:
    voice, context = Voice("well " * 3000, pick(2), facts=STRICT), small()
    agent = chat(voice)
    first = agent.propose(context)
    assert "names no entry" in first.problem
    assert agent.propose(replace(context, feedback=(first.problem,))).files
    assert voice.asks[1].schema == voice.asks[0].schema
    assert voice.asks[1].seed != voice.asks[0].seed
    assert voice.asks[1].prompt_tokens < voice.asks[0].prompt_tokens + 400


@pytest.mark.slow
@pytest.mark.parametrize("text", ["I think that", "", "no"])
def test_a_hanging_choice_is_cut_off_once_and_not_asked_for_again_and_again(text: str) -> None:
    with OpenAIServer() as server:
        server.then(hang(text), say(pick(1)))
        settings = AgentSettings(base_url=server.base_url, timeout_seconds=1.0, patience_seconds=30.0)
        agent, context = Chat(open_endpoint("any", Office(settings)), Office(settings)), small()
        proposal = agent.propose(context)
        if text:
            assert proposal.problem and len(server.chats) == 1, "the same question would hang again"
            proposal = agent.propose(replace(context, feedback=(proposal.problem,)))
        assert proposal.files and len(server.chats) == 2


@pytest.mark.parametrize("text", ['{"choice": 4, "why": "' + "and " * 900, '{\n \t \t "choice"\n \t :\n \t 4,\n \t \t'])
def test_a_number_that_came_before_the_reply_ran_on_counts(text: str) -> None:
    assert chat(Voice(reply(text, finish="length"), facts=STRICT)).propose(small()).files


def test_a_reply_of_blanks_is_cut_off_and_does_not_count_as_thinking() -> None:
    blanks = reply("{\n" + "\t " * 60, finish="length"), reply("\n" * 100, finish="length")
    for first in blanks:
        voice, context = Voice(first, pick(2), facts=STRICT), small()
        agent = chat(voice)
        refused = agent.propose(context)
        assert refused.problem
        assert agent.propose(replace(context, feedback=(refused.problem,))).files
        assert [ask.max_tokens for ask in voice.asks] == [CHOICE, CHOICE]


# --- values


def at_values(voice: Voice, **settings: Any) -> Chat:
    return chat(voice, format="values", **settings)


def test_the_values_have_one_branch_a_knob_with_its_own_values_and_three_changes_at_most() -> None:
    context = night()
    knobs = knob_values(context)
    shape = values_schema(knobs)["properties"]
    branches = {
        b["properties"]["name"]["enum"][0]: b["properties"]["value"]["enum"] for b in shape["knobs"]["items"]["anyOf"]
    }
    assert branches.keys() == {k.name for k in knobs} and shape["knobs"]["maxItems"] == 3
    assert branches["WINDOW_PATTERN"] == ["SL", "SSSL"] and all(type(v) is int for v in branches["DEPTH"])
    now = {name: knob.value for text in context.files.values() for name, knob in read_knobs(text).items()}
    assert all(now[name] not in values for name, values in branches.items())
    assert shape["hypothesis"]["maxLength"] <= FIELDS


def test_values_that_a_schema_lists_are_named_by_their_ends() -> None:
    prompts = []
    for facts in (STRICT, TINY):
        voice = Voice('{"knobs": [{"name": "DEPTH", "value": 6}], "hypothesis": "deeper"}', facts=facts)
        assert at_values(voice).propose(night()).files
        prompts.append(voice.prompt())
    strict, free = prompts
    knob = next(k for k in knob_values(night()) if k.name == "MATRIX_LR")
    assert f"MATRIX_LR = {knob.now}: {min(knob.values)} to {max(knob.values)}\n" in strict
    assert f"MATRIX_LR = {knob.now}: {', '.join(map(str, knob.values))}\n" in free
    assert 'WINDOW_PATTERN = "L": "SL", "SSSL"' in strict and 'WINDOW_PATTERN = "L": "SL", "SSSL"' in free
    assert estimate(strict) < 0.75 * estimate(free)


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ('{"knobs": [{"name": "X", "value": 3.6}], "hypothesis": "nearer"}', "X 4.0 -> 3.6"),
        ('{"knobs": {"X": 3.6, "Y": 3}}', "X 4.0 -> 3.6, Y 2 -> 3"),
        ('{"title": "pour twice", "axis": "pouring", "knobs": {"Y": 3}}', "Y 2 -> 3"),
    ],
)
def test_chosen_values_are_titled_by_what_they_change(answer: str, title: str) -> None:
    proposal = at_values(Voice(answer, facts=TINY)).propose(small())
    assert (proposal.title, proposal.talk["form"]) == (title, "values")
    assert proposal.axis in ("knob.x", "knob.y")


@pytest.mark.parametrize(("knobs", "said"), [({"X": 44}, "from 0 to 10"), ({"Y": -1}, "from 0 to 8"), ({"Z": 1}, "Z")])
def test_a_value_outside_the_range_is_refused_with_the_range(knobs: dict[str, Any], said: str) -> None:
    assert said in at_values(Voice(fields(knobs=knobs), facts=TINY)).propose(small()).problem


def test_a_model_that_writes_code_may_insist_on_a_value_outside_the_range() -> None:
    voice, context = Voice(fields(knobs={"X": 12.0})), small()
    agent = chat(voice)
    first = agent.propose(context)
    assert "must lie from 0 to 10" in first.problem
    assert agent.propose(replace(context, feedback=(first.problem,))).title == "X 4.0 -> 12.0"


# --- the ladder


def test_a_small_model_climbs_and_an_experiment_survives_the_form_that_is_beyond_it() -> None:
    def answer(ask: Ask) -> str:
        prompt = ask.messages[-1].content
        if "The choices" in prompt:
            return pick(1)
        return '{"knobs": [{"name": "Y", "value": 3}]}' if "The constants" in prompt else "I cannot edit files."

    voice, context, told = Voice(answer, facts=STRICT), small(), []
    for _ in range(6):
        agent = chat(voice)  # nothing but the ledger is remembered
        proposal = agent.propose(context)
        if proposal.problem:
            proposal = agent.propose(replace(context, feedback=(proposal.problem,)))
        told.append((proposal.talk["form"], proposal.talk.get("fallen", []), bool(proposal.files)))
        files = {**context.files}
        context = after(context, done(proposal, context.number, "keep"), files=files)
    assert told[:4] == [("menu", [], True)] * 2 + [("values", [], True)] * 2
    assert told[4] == ("values", ["blocks"], True), "the trial of blocks failed, and cost no experiment"
    assert told[5][1] == [] and told[5][2]


def test_a_form_that_does_not_fit_the_context_is_not_chosen() -> None:
    file = estimate(next(iter(night().files.values())))
    for tokens, form in ((2 * file, "values"), (4 * file, "whole")):
        voice = Voice(pick(1), facts=replace(FACTS, context_tokens=tokens))
        sizes = {size.form: size for size in chat(voice, context_tokens=100_000).forms(night())}
        assert (sizes["whole"].tokens is not None) is (form == "whole")
        if form == "whole":
            assert sizes["whole"].reply_tokens is not None and sizes["whole"].reply_tokens >= TIMES * file
    assert 2.2 * file < 32_768, "the usual context holds the shipped script"


@pytest.mark.parametrize(("facts", "menu", "code"), [(FACTS, FIELDS, 1000), (STRICT, CHOICE, FIELDS)])
def test_each_form_has_a_limit_of_its_own(facts: ModelFacts, menu: int, code: int) -> None:
    """Where a schema is enforced, code is asked for in a second call."""
    sizes = {size.form: size.reply_tokens or 0 for size in chat(Voice(pick(1), facts=facts)).forms(small())}
    assert sizes == {"menu": menu, "values": FIELDS, "blocks": code, "whole": code}


# --- the context

RATE = fields(knobs={"MATRIX_LR": 0.05})


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it",
        "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens (8000 in the messages)",
        "the prompt is too long: maximum context length is 4,096 tokens",
    ],
)
def test_the_context_is_learned_from_a_refusal_that_names_it(words: str) -> None:
    with OpenAIServer() as server:
        server.default = lambda request: fail(400, words) if estimate(request.prompt) > 4000 else say(RATE)
        settings = AgentSettings(base_url=server.base_url, format="auto", patience_seconds=0.0)
        office = Office(settings)
        agent = Chat(open_endpoint("any", office), office)
        long = night(program="a line of the brief\n" * 2000)
        assert agent.propose(long).files, "the menu fits at once"
        server.models = [{"id": "tiny", "owned_by": "llamacpp", "meta": {"n_params": 30_000_000_000, "n_ctx": 32768}}]
        agent = Chat(open_endpoint("any", office), office)
        assert agent.propose(long).files and len(server.chats) == 3, "one refusal, then a question that fits"
        assert agent.propose(replace(long, number=28)).files and len(server.chats) == 4, "it is not forgotten"


def test_a_refusal_that_names_no_limit_halves_what_is_asked() -> None:
    voice = Voice(away("overflow"), RATE)
    said: list[str] = []
    proposal = chat(voice, None, said).propose(night())
    assert proposal.files and voice.asks[1].prompt_tokens < voice.asks[0].prompt_tokens / 2
    assert "refused the prompt" in said[0]
    with pytest.raises(AgentError, match="no server answers"):
        chat(Voice(away("overflow"))).propose(night())


def test_the_servers_context_goes_before_the_usual_one() -> None:
    voice = Voice(pick(1), facts=replace(STRICT, context_tokens=2048))
    assert chat(voice).propose(small()).files
    assert all(ask.prompt_tokens + ask.max_tokens <= 2048 < USUAL_CONTEXT for ask in voice.asks)


def test_the_seed_differs_from_experiment_to_experiment() -> None:
    voice = Voice(pick(1), facts=STRICT)
    for number in (3, 4, 5):
        chat(voice).propose(small(number=number))
    assert len({ask.seed for ask in voice.asks}) == 3
