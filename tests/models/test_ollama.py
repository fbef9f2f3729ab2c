"""Ollama's own API: the context is sized, prompts are read whole, the model is unloaded, and errors have kinds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from ollama_server import GB, OllamaModel, OllamaServer
from server_behaviours import (
    Behaviour,
    fail,
    say,
    without_usage,
)

from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.models.ollama import Ollama
from autoresearch_mlx.models.ollama_models import Loaded
from autoresearch_mlx.models.wire import Ask, Message, ModelFacts

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}
QUESTION = Ask((Message("system", "You edit."), Message("user", "What now?")), 12, 256, 20.0, seed=7)


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with OllamaServer() as running:
        yield running


def at(server: OllamaServer, model: str = "tiny:1b", **more: Any) -> Ollama:
    return Ollama(model, server.url, **more)


def long_ask(tokens: int, max_tokens: int = 1000, claimed: int | None = None) -> Ask:
    """Return a prompt with this number of tokens, as the server counts them."""
    return Ask((Message("user", "abcd" * tokens),), claimed or tokens, max_tokens, 20.0)


def failure(server: OllamaServer, ask: Ask = QUESTION, **more: Any) -> EndpointError:
    with pytest.raises(EndpointError) as caught:
        at(server, **more).ask(ask)
    assert str(caught.value) and caught.value.hint
    return caught.value


def contexts(server: OllamaServer) -> list[int]:
    return [chat.body["options"]["num_ctx"] for chat in server.chats]


# -- what is sent -----------------------------------------------------------------------------------------------------


def test_a_question_goes_out_with_its_context_and_asks_not_to_be_cut(server: OllamaServer) -> None:
    at(server).ask(replace(QUESTION, temperature=0.3, schema=SCHEMA))
    assert server.chats[0].body == {
        "model": "tiny:1b",
        "messages": [{"role": "system", "content": "You edit."}, {"role": "user", "content": "What now?"}],
        "stream": True,
        "format": SCHEMA,
        "options": {"num_ctx": 4096, "num_predict": 256, "temperature": 0.3, "seed": 7},
        "keep_alive": "30m",
        "truncate": False,
        "shift": False,
    }


def test_what_is_not_asked_for_is_not_sent(server: OllamaServer) -> None:
    at(server, keep_alive=0).ask(replace(QUESTION, seed=None))
    body = server.chats[0].body
    assert not {"format", "think"} & set(body) and "seed" not in body["options"]
    assert body["keep_alive"] == 0


@pytest.mark.parametrize(
    ("model", "think", "sent"),
    [
        ("tiny:1b", "off", False),
        ("tiny:1b", "high", True),
        ("gpt-oss:20b", "low", "low"),
        ("gpt-oss:20b", "off", False),
    ],
)
def test_how_to_think_is_told_as_the_model_takes_it(model: str, think: Any, sent: Any) -> None:
    with OllamaServer(OllamaModel(model, capabilities=("completion", "thinking"))) as server:
        at(server, model).ask(replace(QUESTION, think=think))
        assert server.chats[0].body["think"] == sent


def test_a_model_that_does_not_think_is_told_so_once(server: OllamaServer) -> None:
    endpoint = at(server)
    assert [endpoint.ask(replace(QUESTION, think="low")).text for _ in range(2)] == ["ok", "ok"]
    assert ["think" in chat.body for chat in server.chats] == [True, False, False]


def test_the_context_has_room_for_prompt_and_reply_and_only_grows(server: OllamaServer) -> None:
    endpoint = at(server)
    for tokens in (3000, 3500, 9000, 100):
        assert endpoint.ask(long_ask(tokens)).context_tokens == contexts(server)[-1]
    assert contexts(server) == [4096, 8192, 12288, 12288]


def test_the_context_ends_where_the_models_or_the_settings_end() -> None:
    with OllamaServer(OllamaModel("tiny:1b", context=6000)) as server:
        at(server).ask(long_ask(5500))
        at(server, most_context=5600).ask(long_ask(5500))
        assert contexts(server) == [6000, 5600]
        assert [chat.body["options"]["num_predict"] for chat in server.chats] == [500, 100]


@pytest.mark.parametrize(("more", "limit"), [({}, "the model sets this limit"), ({"most_context": 5000}, "lab.toml")])
def test_a_prompt_that_cannot_fit_is_an_overflow_before_anything_is_sent(more: dict[str, int], limit: str) -> None:
    with OllamaServer(OllamaModel("tiny:1b", context=6000)) as server:
        error = failure(server, long_ask(7000), **more)
        assert (error.kind, server.chats) == ("overflow", [])
        assert "7000" in str(error) and limit in error.hint


# -- what comes back --------------------------------------------------------------------------------------------------


def test_a_reply_has_counts_times_and_the_context_given(server: OllamaServer) -> None:
    server.then(say("one two three four", "hm, hm, hm, hm,", "thinking", load_seconds=0.001))
    reply = at(server).ask(QUESTION)
    assert (reply.text, reply.reasoning, reply.finish, reply.model) == (
        "one two three four",
        "hm, hm, hm, hm,",
        "stop",
        "tiny:1b",
    )
    assert (reply.prompt_tokens, reply.completion_tokens, reply.context_tokens) == (4, 8, 4096)
    assert reply.load_seconds == pytest.approx(0.001) and 0 <= reply.think_seconds < 10


def test_another_end_than_the_usual_ones_is_unknown(server: OllamaServer) -> None:
    server.then(say("x", finish="load"))
    assert at(server).ask(QUESTION).finish == "unknown"


def test_missing_counts_are_unknown_not_zero_and_no_error(server: OllamaServer) -> None:
    server.default = without_usage(say("fine"))
    reply = at(server).ask(long_ask(5000))
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("fine", None, None)


# -- was the whole prompt read? ---------------------------------------------------------------------------------------


def test_a_prompt_cut_by_a_server_with_a_fixed_context_is_an_error_with_the_remedy(server: OllamaServer) -> None:
    server.context = 4096
    error = failure(server, long_ask(8000))
    assert error.kind == "overflow"
    assert "2048" in str(error) and "8000" in str(error) and "4096" in str(error)
    for remedy in ("context_tokens", "OLLAMA_CONTEXT_LENGTH", "ollama --version"):
        assert remedy in error.hint


def test_a_small_cut_is_seen_once_the_models_tokens_are_known(server: OllamaServer) -> None:
    endpoint = at(server)
    endpoint.ask(long_ask(2000))
    server.then(say("ok", prompt_tokens=6000))
    with pytest.raises(EndpointError, match="6000 tokens of a prompt of about 8000, in a context of 12288") as caught:
        endpoint.ask(long_ask(8000))
    assert caught.value.kind == "overflow"


def test_an_estimate_that_is_too_high_is_no_cut(server: OllamaServer) -> None:
    endpoint = at(server)
    for _ in range(2):
        assert endpoint.ask(long_ask(3000, claimed=5000)).prompt_tokens == 3000


def test_a_version_that_counts_without_its_cache_is_believed_when_the_context_was_large_enough(
    server: OllamaServer,
) -> None:
    server.version = "0.30.0"
    server.then(say("fine", prompt_tokens=20))
    endpoint = at(server)
    assert endpoint.ask(long_ask(5000)).text == "fine"
    server.context = 4096
    with pytest.raises(EndpointError, match="read 2048"):
        endpoint.ask(long_ask(5000))


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (fail(500, "llama runner process has terminated: exit status 2"), "busy", "terminated"),
        (fail(500, "model requires more system memory (40.1 GiB) than is available (12.0 GiB)"), "refused", "40.1 GiB"),
        (fail(400, "the prompt is longer than the context length of 4096"), "overflow", "4096"),
        (fail(500, "input length (9000 tokens) exceeds the model's maximum context length"), "overflow", "9000"),
        (fail(401, "unauthorized"), "refused", "401"),
        (Behaviour(body="[1]\n"), "garbled", "[1]"),
        (Behaviour(body=""), "dropped", "before"),
    ],
)
def test_each_failure_has_its_kind(server: OllamaServer, behaviour: Behaviour, kind: str, words: str) -> None:
    server.then(behaviour)
    error = failure(server)
    assert error.kind == kind
    assert words in str(error)
    assert len(server.chats) == 1


def test_a_missing_model_is_refused_with_how_to_get_it_and_what_is_there(server: OllamaServer) -> None:
    error = failure(server, model="gone:7b")
    assert (error.kind, error.hint) == ("refused", "`ollama pull gone:7b`; models there: tiny:1b")
    server.models.clear()
    assert "no model yet" in failure(server, model="gone:7b").hint


def test_a_server_that_is_gone_has_a_remedy_and_nothing_to_release(server: OllamaServer) -> None:
    endpoint = at(server)
    server.die()
    with pytest.raises(EndpointError) as caught:
        endpoint.ask(QUESTION)
    assert "ollama serve" in caught.value.hint
    assert endpoint.release() is None


def test_the_deadline_holds_before_the_question_too(server: OllamaServer) -> None:
    server.silent = {"/api/show"}
    started = time.monotonic()
    assert failure(server, replace(QUESTION, seconds=0.5)).kind == "hung"
    assert time.monotonic() - started < 4


# -- facts ------------------------------------------------------------------------------------------------------------


def test_facts_come_from_the_server_and_are_asked_once() -> None:
    model = OllamaModel("coder:30b", 18 * GB, "30.5B", 262144, capabilities=("completion", "thinking"))
    with OllamaServer(model) as server:
        endpoint = at(server, "coder:30b")
        expected = ModelFacts("coder:30b", 30.5, 262144, 18 * GB, thinks=True, enforces_schema=True)
        assert endpoint.facts() == endpoint.facts() == expected
        assert len(server.of("/api/show")) == 1


def test_a_model_on_the_mlx_engine_does_not_enforce_a_schema() -> None:
    with OllamaServer(OllamaModel("coder:latest", format="safetensors")) as server:
        facts = at(server, "coder").facts()
        assert (facts.enforces_schema, facts.thinks, facts.size_bytes) == (False, False, 4 * GB)


@pytest.mark.parametrize("model", [OllamaModel("huge:cloud"), OllamaModel("mine:1b", remote_host="https://x")])
def test_a_model_of_the_cloud_is_not_here(model: OllamaModel) -> None:
    with OllamaServer(model) as server:
        endpoint = at(server, model.name)
        assert endpoint.facts().here is False


def test_a_server_that_is_no_ollama_is_told_as_such(server: OllamaServer) -> None:
    with pytest.raises(EndpointError, match="404") as caught:
        Ollama("tiny:1b", server.url + "/elsewhere").facts()
    assert caught.value.kind == "refused" and "OLLAMA_HOST" in caught.value.hint


CHILD = """
from autoresearch_mlx.models.ollama import Ollama
from autoresearch_mlx.models.wire import Ask, Message
print(Ollama("tiny:1b").ask(Ask((Message("user", "hi"),), 2, 16, 20.0)).text)
"""


def test_the_host_comes_from_the_environment_and_proxies_do_not(server: OllamaServer) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**os.environ, **proxies, "OLLAMA_HOST": server.address},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")


# -- memory -----------------------------------------------------------------------------------------------------------


def test_what_is_loaded_is_listed(server: OllamaServer) -> None:
    server.loaded = {"tiny:1b": 4096}
    assert at(server).loaded() == [Loaded("tiny:1b", GB, 4096)]


def test_release_waits_until_this_model_is_gone_and_leaves_the_others(server: OllamaServer) -> None:
    server.loaded, server.polls_to_unload = {"other:7b": 4096}, 2
    endpoint = at(server)
    endpoint.ask(QUESTION)
    seconds = endpoint.release()
    assert seconds is not None and 0.1 < seconds < 10
    assert server.loaded == {"other:7b": 4096}
    assert [r.body for r in server.of("/api/generate")] == [{"model": "tiny:1b", "keep_alive": 0}]


def test_nothing_is_released_that_is_not_loaded(server: OllamaServer) -> None:
    assert at(server).release() is None
    assert at(server, "huge:cloud").release() is None
    assert server.of("/api/generate") == []


def test_a_model_that_stays_is_told_with_what_is_still_listed(server: OllamaServer) -> None:
    server.loaded, server.polls_to_unload = {"tiny:1b": 4096, "other:7b": 4096}, None
    with pytest.raises(EndpointError, match="still lists tiny:1b, other:7b") as caught:
        at(server).release(seconds=0.3)
    assert caught.value.kind == "hung" and "ollama stop tiny:1b" in caught.value.hint


def test_an_endpoint_has_a_name_and_nothing_to_close(server: OllamaServer) -> None:
    endpoint = at(server)
    endpoint.close()
    assert (endpoint.name, server.requests) == ("ollama:tiny:1b", [])
