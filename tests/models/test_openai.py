"""An OpenAI-compatible server that behaves well or badly: how each answer is used, and what is never sent to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from openai_server import OpenAIServer
from server_behaviours import (
    Behaviour,
    Received,
    broken,
    busy,
    drop,
    fail,
    filtered,
    hang,
    late,
    say,
)

from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.models.openai import OpenAICompatible
from autoresearch_mlx.models.web import sizes_in
from autoresearch_mlx.models.wire import MOST_CHARACTERS, Ask, Message, split_thoughts

KEY = "sk-very-secret-0123456789"
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}
QUESTION = Ask((Message("system", "You edit."), Message("user", "What now?")), 12, 256, 20.0, seed=7)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


def at(server: OpenAIServer, model: str = "tiny-1b", key: str | None = None, **more: Any) -> OpenAICompatible:
    return OpenAICompatible(f"openai:{model}", server.base_url, model, key, here=True, **more)


def failure(server: OpenAIServer, ask: Ask = QUESTION, **more: Any) -> EndpointError:
    with pytest.raises(EndpointError) as caught:
        at(server, **more).ask(ask)
    assert str(caught.value) and caught.value.hint
    return caught.value


def answer(server: OpenAIServer, behaviour: Behaviour) -> tuple[str, str, str]:
    server.then(behaviour)
    reply = at(server).ask(QUESTION)
    return reply.text, reply.reasoning, reply.finish


# -- replies without an end --------------------------------------------------------------------------------------------


def test_a_reply_that_runs_on_past_its_limit_is_cut_off(server: OpenAIServer) -> None:
    """Some servers ignore the limit of tokens."""
    server.then(say("on and " * 20_000))
    reply = at(server).ask(replace(QUESTION, max_tokens=50))
    assert reply.finish == "length" and len(reply.text) < 5000


def test_a_reply_that_stands_still_in_its_middle_is_cut_off_with_what_has_come(server: OpenAIServer) -> None:
    server.then(hang("half an ans"))
    error = failure(server, replace(QUESTION, idle_seconds=0.3))
    assert (error.kind, error.partial) == ("hung", "half an ans")
    assert "sent nothing more for 0.3 s" in str(error)


def test_a_slow_beginning_is_no_standstill(server: OpenAIServer) -> None:
    server.then(late("an edit", 0.8))
    reply = at(server).ask(replace(QUESTION, idle_seconds=0.3))
    assert reply.text == "an edit" and 0.8 <= reply.think_seconds < 15, "the time of the call, not of its deadline"


@pytest.mark.parametrize(
    ("words", "context", "prompt"),
    [
        ("request (5000 tokens) exceeds the available context size (2048 tokens), try increasing it", 2048, 5000),
        ('{"error": {"type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 2048}}', 2048, 5000),
        (
            "This model's maximum context length is 2048 tokens. However, you requested 9 (5000 in the messages",
            2048,
            5000,
        ),
        ("maximum context length of 131,072 tokens exceeded", 131_072, None),
        ("the prompt is too long", None, None),
    ],
)
def test_the_sizes_in_a_refusal_are_read(words: str, context: int | None, prompt: int | None) -> None:
    assert sizes_in(words) == (context, prompt)


# -- what is sent -----------------------------------------------------------------------------------------------------


def test_a_question_goes_out_whole_and_streamed_with_its_limits(server: OpenAIServer) -> None:
    at(server).ask(replace(QUESTION, temperature=0.3, schema=SCHEMA))
    body = server.chats[0].body
    assert body["messages"] == [
        {"role": "system", "content": "You edit."},
        {"role": "user", "content": "What now?"},
    ]
    assert (body["model"], body["stream"], body["stream_options"]) == ("tiny-1b", True, {"include_usage": True})
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (256, 0.3, 7)
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert "reasoning_effort" not in body and "max_completion_tokens" not in body


@pytest.mark.parametrize(("think", "effort"), [("off", "none"), ("low", "low"), ("high", "high")])
def test_how_to_think_is_told_only_when_asked_for(server: OpenAIServer, think: Any, effort: str) -> None:
    at(server).ask(replace(QUESTION, think=think))
    assert server.chats[0].body["reasoning_effort"] == effort


def test_an_endpoint_without_schemas_sends_none(server: OpenAIServer) -> None:
    at(server, schema=False).ask(replace(QUESTION, schema=SCHEMA))
    assert "response_format" not in server.chats[0].body


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("response_format", 400),
        ("response_format", 422),
        ("response_format", 500),
        ("stream_options", 400),
        ("reasoning_effort", 400),
        ("chat_template_kwargs", 422),
        ("temperature", 400),
        ("seed", 400),
    ],
)
def test_a_field_refused_by_name_is_left_out_at_once_and_from_then_on(
    server: OpenAIServer, name: str, status: int
) -> None:
    server.unknown_fields, server.refusal_status = {name}, status
    endpoint = at(server)
    ask = replace(QUESTION, schema=SCHEMA, think="off")
    assert [endpoint.ask(ask).text for _ in range(2)] == ["ok", "ok"]
    assert [name in chat.body for chat in server.chats] == [True, False, False]


@pytest.mark.parametrize("status", [400, 500])
def test_a_schema_is_left_out_where_a_server_fails_with_it_for_no_reason_given(
    server: OpenAIServer, status: int
) -> None:
    server.then(fail(status, "Internal Server Error"), say("3"), say("4"))
    endpoint = at(server)
    assert endpoint.ask(replace(QUESTION, schema=SCHEMA)).text == "3"
    assert endpoint.ask(replace(QUESTION, schema=SCHEMA)).text == "4"
    assert ["response_format" in chat.body for chat in server.chats] == [True, False, False]


def test_the_newer_name_of_the_limit_is_used_where_the_older_is_refused(server: OpenAIServer) -> None:
    server.unknown_fields = {"max_tokens"}
    endpoint = at(server)
    endpoint.ask(QUESTION)
    endpoint.ask(QUESTION)
    assert [chat.body.get("max_completion_tokens") for chat in server.chats] == [None, 256, 256]


def test_a_server_that_refuses_everything_is_asked_finitely_often(server: OpenAIServer) -> None:
    server.default = fail(400, "max_tokens response_format temperature seed stream_options reasoning_effort: all wrong")
    assert failure(server, replace(QUESTION, schema=SCHEMA, think="low")).kind == "refused"
    assert len(server.chats) == 7


# -- what comes back --------------------------------------------------------------------------------------------------


def test_a_reply_has_the_servers_own_counts(server: OpenAIServer) -> None:
    server.then(say("one two three four", "hm, hm, hm, hm,"))
    reply = at(server).ask(QUESTION)
    assert (reply.text, reply.reasoning, reply.finish, reply.model) == (
        "one two three four",
        "hm, hm, hm, hm,",
        "stop",
        "tiny-1b",
    )
    assert (reply.prompt_tokens, reply.completion_tokens) == (4, 8)
    assert reply.load_seconds is None and 0 < reply.think_seconds < 10


@pytest.mark.parametrize("where", ["reasoning", "reasoning_content"])
def test_reasoning_is_apart_from_the_text_wherever_it_comes(server: OpenAIServer, where: Any) -> None:
    assert answer(server, say("the answer", "let me see", where)) == ("the answer", "let me see", "stop")


@pytest.mark.parametrize(
    ("text", "said", "thought"),
    [
        ("<think>a</think>b<think>c</think>d", "bd", "a\n\nc"),
        ("a\n</think>\n\nb", "b", "a"),
        ("b <think>a", "b", "a"),
        ("<think>\n</think>\n\nb", "b", ""),
        ("<THINK>a</THINK>b", "b", "a"),
        ("  indented, no thoughts\n", "  indented, no thoughts\n", ""),
    ],
)
def test_tags_of_thinking_may_be_whole_closed_only_or_opened_only(text: str, said: str, thought: str) -> None:
    assert split_thoughts(text) == (said, thought)


def test_thoughts_are_capped_and_say_so() -> None:
    text, thoughts = split_thoughts("b", "x" * (MOST_CHARACTERS + 5))
    assert (text, thoughts[MOST_CHARACTERS:]) == ("b", "\n[5 characters left out]")


@pytest.mark.parametrize(
    ("behaviour", "text", "finish"),
    [
        (filtered(), "", "refused"),
        (Behaviour(refusal="I cannot."), "I cannot.", "refused"),
        (say("x", finish="weather"), "x", "unknown"),
    ],
)
def test_how_a_reply_ended_is_told(server: OpenAIServer, behaviour: Behaviour, text: str, finish: str) -> None:
    assert answer(server, behaviour) == (text, "", finish)


def test_an_answer_that_was_not_streamed_is_read_too(server: OpenAIServer) -> None:
    whole = '{"choices": [{"message": {"content": "<think>a</think>b"}, "finish_reason": "stop"}]}'
    assert answer(server, Behaviour(body=whole)) == ("b", "a", "stop")


def test_a_server_that_never_hangs_up_has_answered_all_the_same(server: OpenAIServer) -> None:
    server.then(say("all of it", lingers=True))
    reply = at(server).ask(replace(QUESTION, seconds=0.5))
    assert (reply.text, reply.finish, reply.prompt_tokens) == ("all of it", "stop", None)


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (busy(429), "busy", "429"),
        (busy(529), "busy", "529"),
        (fail(429, "You exceeded your quota: insufficient_quota"), "refused", "quota"),
        (fail(400, "your messages are odd"), "refused", "odd"),
        (fail(402, "pay first"), "refused", "pay first"),
        (fail(301, "moved"), "refused", "301"),
        (broken("context size exceeded"), "overflow", "context"),
        (Behaviour(body="{}"), "garbled", "{}"),
        (Behaviour(body='"a string"'), "garbled", "a string"),
        (Behaviour(body="", content_type="text/event-stream"), "garbled", "empty"),
        (Behaviour(body='data: "text"\n\n', content_type="text/event-stream"), "garbled", "text"),
        (Behaviour(body="data: [1]\n\n", content_type="text/event-stream"), "garbled", "JSON"),
        (
            Behaviour(body='data: {"choices": [{"delta": {"content": [1]}}]}\n\n', content_type="text/event-stream"),
            "garbled",
            "not text",
        ),
        (say("no end", finish=None, usage=False), "dropped", "the end of the answer is missing"),
    ],
)
def test_each_failure_has_its_kind(server: OpenAIServer, behaviour: Behaviour, kind: str, words: str) -> None:
    server.then(behaviour)
    error = failure(server)
    assert error.kind == kind
    assert words in str(error)
    assert len(server.chats) == 1


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("1.5", 1.5), ("soon", None), (None, None)])
def test_a_busy_server_may_say_how_long_to_wait(server: OpenAIServer, said: str | None, seconds: float | None) -> None:
    server.then(busy(429, said))
    assert failure(server).retry_after == seconds


def test_a_date_in_the_past_means_no_wait(server: OpenAIServer) -> None:
    server.then(busy(503, "Wed, 21 Oct 2015 07:28:00 GMT"))
    assert failure(server).retry_after == 0.0


def test_a_server_that_dies_in_the_middle_dropped_the_answer(server: OpenAIServer) -> None:
    def last_words(request: Received) -> Behaviour:
        server.die()
        return drop("x")

    server.default = last_words
    assert failure(server).kind == "dropped"


def test_a_missing_model_without_a_list_still_has_a_hint(server: OpenAIServer) -> None:
    server.models = None
    server.then(fail(404, "model not found"))
    assert "/v1" in failure(server).hint


def test_an_address_that_is_none_is_refused() -> None:
    endpoint = OpenAICompatible("x", "ftp://127.0.0.1/v1", "m", None, True)
    with pytest.raises(EndpointError, match="cannot be called") as caught:
        endpoint.ask(QUESTION)
    assert caught.value.kind == "refused"


def test_a_server_at_home_that_read_half_the_prompt_is_an_overflow(server: OpenAIServer) -> None:
    ask = replace(QUESTION, messages=(Message("user", "word " * 2000),), prompt_tokens=2500)
    server.then(say("I saw the end of it", prompt_tokens=1000))
    error = failure(server, ask)
    assert error.kind == "overflow"
    assert "1000" in str(error) and "2500" in str(error) and "context_tokens" in error.hint


# -- keys -------------------------------------------------------------------------------------------------------------


def test_the_key_is_sent_and_never_told(server: OpenAIServer) -> None:
    server.key = KEY
    assert at(server, key=KEY).ask(QUESTION).text == "ok"
    server.key = "another"
    error = failure(server, key=KEY, key_env="MY_KEY")
    assert (error.kind, "MY_KEY" in error.hint) == ("refused", True)
    assert "[key]" in str(error)
    assert error.__cause__ is None and error.__context__ is None
    with pytest.raises(EndpointError) as caught:
        at(server, key=KEY).facts()
    assert "api_key_env" in caught.value.hint
    for each in (error, caught.value):
        assert KEY not in f"{each}{each.hint}{each.args}{each.partial}"


@pytest.mark.parametrize(
    "behaviour",
    [fail(400, f"bad {KEY}"), fail(503, f"Bearer {KEY}"), broken(f"who is {KEY}"), drop(KEY), Behaviour(body=KEY)],
    ids=["400", "503", "stream", "drop", "body"],
)
def test_a_server_that_echoes_the_key_is_not_quoted_with_it(server: OpenAIServer, behaviour: Behaviour) -> None:
    server.then(behaviour)
    error = failure(server, key=KEY)
    assert KEY not in f"{error}{error.hint}{error.partial}"
    assert error.__context__ is None


def test_without_a_key_a_placeholder_goes_out(server: OpenAIServer) -> None:
    at(server).ask(QUESTION)
    assert server.chats[0].headers["authorization"] == "Bearer none"


CHILD = """
import sys
import openai  # beforehand: on a busy machine the import alone may take longer than the call may
from autoresearch_mlx.models.openai import OpenAICompatible
from autoresearch_mlx.models.wire import Ask, Message
endpoint = OpenAICompatible("x", sys.argv[1], "tiny-1b", None, True)
print(endpoint.facts().model, endpoint.ask(Ask((Message("user", "hi"),), 2, 16, 50.0)).text)
"""


@pytest.mark.slow
def test_nothing_in_the_environment_reaches_a_server_or_keeps_from_it(server: OpenAIServer) -> None:
    nowhere = "http://127.0.0.1:9"
    environment = {
        "OPENAI_API_KEY": KEY,
        "OPENAI_ORG_ID": "org-secret",
        "OPENAI_PROJECT_ID": "proj-secret",
        "OPENAI_CUSTOM_HEADERS": "X-Own: own-secret",
        **dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), nowhere),
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD, server.base_url],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("tiny-1b ok\n", "")
    assert not [value for request in server.requests for value in request.headers.values() if "secret" in value]
