"""All model servers behave alike, whichever API they speak: they answer, or they fail in one of the named ways.

Ollama, an OpenAI-compatible server and LM Studio are real HTTP servers here that speak the product's protocol; mlx-lm
is the real ``mlx_lm.server`` with a small model made by hand.  Behaviour of a single server is tested in that server's
file.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from ollama_server import OllamaModel, OllamaServer
from openai_server import OpenAIServer
from scripted_model import write_model
from server_behaviours import (
    Behaviour,
    ModelServer,
    broken,
    busy,
    cut_off,
    drop,
    empty,
    fail,
    garbage,
    hang,
    html,
    late,
    say,
    slow,
    too_long,
    without_usage,
)

from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.models.lmstudio import LmStudio
from autoresearch_mlx.models.mlx import MlxServer
from autoresearch_mlx.models.ollama import Ollama
from autoresearch_mlx.models.openai import OpenAICompatible
from autoresearch_mlx.models.wire import Ask, Endpoint, Message

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}
LONG = 20_000
"""Number of lines of a reply that takes longer than the deadline."""


def question(number: int = 1) -> Ask:
    """Return a question; ``number`` picks the reply of the model made by hand, and the other servers ignore it."""
    messages = (Message("system", "You edit."), Message("user", f"This is experiment {number}.\nWhat now?"))
    return Ask(messages, 12, 256, 60.0, temperature=0.0, seed=7)


class Case(ABC):
    """One server, and how to put it into each situation; every method returns the question to ask then."""

    name: str
    endpoint: Endpoint
    absent: Endpoint
    """The same server, asked for a model that it does not have."""

    @abstractmethod
    def answers(self) -> Ask:
        """Make ``an edit`` the next reply."""

    @abstractmethod
    def says_nothing(self) -> Ask:
        """Make the next reply empty."""

    @abstractmethod
    def reaches_the_limit(self) -> Ask:
        """Make the next reply end at its limit of tokens."""

    @abstractmethod
    def refuses(self) -> Ask:
        """Make the server refuse the next question."""

    @abstractmethod
    def overflows(self) -> Ask:
        """Make the next prompt too long for the model's context."""

    @abstractmethod
    def takes_too_long(self) -> Ask:
        """Make the next reply take longer than the question's deadline of half a second."""

    @abstractmethod
    def dies(self) -> Ask:
        """Make the connection break during the next call."""

    def holds_memory(self) -> bool:
        """Return whether :meth:`Endpoint.release` has something to release after a call."""
        return True


class HttpCase(Case):
    server: ModelServer

    def __init__(self, name: str, server: ModelServer, endpoint: Endpoint, absent: Endpoint) -> None:
        self.name, self.server, self.endpoint, self.absent = name, server, endpoint, absent

    def then(self, behaviour: Behaviour) -> Ask:
        self.server.then(behaviour)
        return question()

    def answers(self) -> Ask:
        return self.then(say("an edit"))

    def says_nothing(self) -> Ask:
        return self.then(empty())

    def reaches_the_limit(self) -> Ask:
        return self.then(cut_off())

    def refuses(self) -> Ask:
        return self.then(fail(400, "the script has no reply 9"))

    def overflows(self) -> Ask:
        return self.then(too_long())

    def takes_too_long(self) -> Ask:
        return replace(self.then(hang("half an ans")), seconds=0.5)

    def dies(self) -> Ask:
        return self.then(drop())

    def holds_memory(self) -> bool:
        return self.name != "openai:tiny-1b"  # this API has no call that unloads a model


class MlxCase(Case):
    def __init__(self, model: Path) -> None:
        self.model, self.name = model, f"mlx:{model}"
        self.endpoint, self.absent = MlxServer(str(model)), MlxServer(str(model / "absent"))

    def answers(self) -> Ask:
        return question(1)

    def says_nothing(self) -> Ask:
        return question(2)

    def reaches_the_limit(self) -> Ask:
        return replace(question(3), max_tokens=3)

    def refuses(self) -> Ask:
        return question(9)

    def overflows(self) -> Ask:
        return replace(question(), prompt_tokens=10**6)

    def takes_too_long(self) -> Ask:
        self.endpoint.ask(question(1))  # the half second is for the reply, not for loading the model
        return replace(question(3), max_tokens=2 * LONG, seconds=0.5)

    def dies(self) -> Ask:
        self.endpoint.ask(question(1))
        (server,) = (p for p in psutil.Process().children() if str(self.model) in p.cmdline())
        (port,) = {c.laddr.port for c in server.net_connections("tcp4") if c.status == psutil.CONN_LISTEN}
        server.suspend()

        def kill() -> None:
            ours = psutil.Process()
            while not any(c.raddr and c.raddr.port == port for c in ours.net_connections("tcp4")):
                time.sleep(0.01)
            server.kill()

        threading.Thread(target=kill, daemon=True).start()
        return question(1)


@pytest.fixture(scope="module")
def mlx_case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlxCase]:
    replies = ["an edit", "", "line\n" * LONG]
    made = MlxCase(write_model(tmp_path_factory.mktemp("models") / "scripted", replies, context=10**5))
    with closing(made.endpoint):
        yield made


def http_case(kind: str) -> HttpCase:
    if kind == "ollama":
        ollama = OllamaServer(OllamaModel("tiny:1b"))
        ollama.__enter__()
        return HttpCase("ollama:tiny:1b", ollama, Ollama("tiny:1b", ollama.url), Ollama("gone:1b", ollama.url))
    server = OpenAIServer()
    server.__enter__()
    if kind == "lmstudio":
        loaded = [{"id": "tiny-1b", "config": {"context_length": 8192}}]
        server.lmstudio = [{"key": "tiny-1b", "max_context_length": 32768, "loaded_instances": loaded}]
    made = LmStudio if kind == "lmstudio" else OpenAICompatible
    endpoints = (made(f"{kind}:{model}", server.base_url, model, None, here=True) for model in ("tiny-1b", "gone-1b"))
    return HttpCase(f"{kind}:tiny-1b", server, *endpoints)


HTTP = ("ollama", "openai", "lmstudio")


@pytest.fixture(params=HTTP)
def http(request: pytest.FixtureRequest) -> Iterator[HttpCase]:
    made = http_case(request.param)
    yield made
    made.server.die()


@pytest.fixture(params=(*HTTP, "mlx"))
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param == "mlx":
        yield request.getfixturevalue("mlx_case")
        return
    made = http_case(request.param)
    yield made
    made.server.die()


def failure(endpoint: Endpoint, ask: Ask) -> EndpointError:
    """Return the error of a call, after checking that it says what happened and what to do."""
    with pytest.raises(EndpointError) as caught:
        endpoint.ask(ask)
    assert str(caught.value) and caught.value.hint
    return caught.value


# -- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_comes_with_the_servers_counts_and_its_time(case: Case) -> None:
    reply = case.endpoint.ask(case.answers())
    assert (reply.text, reply.reasoning, reply.finish) == ("an edit", "", "stop")
    assert reply.prompt_tokens and reply.completion_tokens
    assert reply.think_seconds > 0


def test_a_schema_never_keeps_an_answer_away(case: Case) -> None:
    assert case.endpoint.ask(replace(case.answers(), schema=SCHEMA)).text == "an edit"


def test_an_empty_answer_is_an_empty_text(case: Case) -> None:
    reply = case.endpoint.ask(case.says_nothing())
    assert (reply.text, reply.finish) == ("", "stop")


def test_an_answer_that_reached_its_limit_says_so(case: Case) -> None:
    reply = case.endpoint.ask(case.reaches_the_limit())
    assert reply.text and reply.finish == "length"


def test_the_name_is_the_one_to_choose_it_by_and_facts_are_of_the_model(case: Case) -> None:
    assert case.endpoint.name == case.name
    facts = case.endpoint.facts()
    assert case.name.endswith(facts.model) and facts.here
    assert case.endpoint.facts() is facts, "facts are asked for once"


# -- failures ---------------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_there_is_refused_with_what_to_do(case: Case) -> None:
    if isinstance(case, HttpCase) and "ollama" not in case.name:
        case.server.then(fail(404, "model not found"))
    error = failure(case.absent, question())
    assert error.kind == "refused"
    if isinstance(case, HttpCase):
        assert "models there: tiny" in error.hint


def test_a_refusal_is_told_in_the_servers_words(case: Case) -> None:
    error = failure(case.endpoint, case.refuses())
    assert error.kind == "refused"
    assert "the script has no reply 9" in str(error)


def test_a_prompt_that_does_not_fit_is_an_overflow_with_the_setting_that_helps(case: Case) -> None:
    error = failure(case.endpoint, case.overflows())
    assert error.kind == "overflow"
    assert "context_tokens" in error.hint


@pytest.mark.slow
def test_a_reply_that_takes_too_long_is_given_up_at_the_deadline(case: Case) -> None:
    ask = case.takes_too_long()
    started = time.monotonic()
    assert failure(case.endpoint, ask).kind == "hung"
    assert time.monotonic() - started < 10


@pytest.mark.slow
def test_a_server_that_dies_during_the_call_is_told_and_the_next_call_works(case: Case) -> None:
    assert failure(case.endpoint, case.dies()).kind in ("dropped", "unreachable")
    assert case.endpoint.ask(case.answers()).text == "an edit"


# -- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_leaves_the_memory_when_asked_and_comes_back_when_needed(case: Case) -> None:
    case.endpoint.ask(case.answers())
    seconds = case.endpoint.release()
    assert (seconds is not None and seconds >= 0) == case.holds_memory()
    assert case.endpoint.release() is None, "nothing is left to release"
    assert case.endpoint.ask(case.answers()).text == "an edit"


@pytest.mark.slow
def test_closing_twice_is_fine(case: Case) -> None:
    case.endpoint.close()
    case.endpoint.close()


# -- servers over HTTP, which can misbehave in more ways -------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (busy(503), "busy", "503"),
        (fail(500, "boom"), "busy", "boom"),
        (fail(400, "odd options"), "refused", "odd options"),
        (fail(500, "input length exceeds maximum context length"), "overflow", "context"),
        (broken("the GPU is on fire"), "garbled", "on fire"),
        (broken("input length (9 tokens) exceeds the model's maximum context length"), "overflow", "9 tokens"),
        (garbage(), "garbled", "JSON"),
        (html(), "garbled", "It works!"),
        (drop(), "dropped", "middle"),
        (drop(""), "dropped", "before"),
    ],
)
def test_each_failure_has_its_kind_and_is_never_asked_again(
    http: HttpCase, behaviour: Behaviour, kind: str, words: str
) -> None:
    error = failure(http.endpoint, http.then(behaviour))
    assert error.kind == kind
    assert words in str(error)
    assert len(http.server.chats) == 1


def test_what_had_come_before_a_break_is_kept(http: HttpCase) -> None:
    http.server.then(drop("half an answer"), broken("boom", "half an answer"), garbage())
    partial = [failure(http.endpoint, question()).partial for _ in range(3)]
    assert partial == ["half an answer", "half an answer", "half an ans"]


def test_a_busy_server_may_say_how_long_to_wait(http: HttpCase) -> None:
    assert failure(http.endpoint, http.then(busy(503, 3))).retry_after == 3.0


def test_nobody_there_is_unreachable_and_back_again_is_fine(http: HttpCase) -> None:
    http.server.die()
    error = failure(http.endpoint, question())
    assert error.kind == "unreachable" and http.server.address in str(error)
    with pytest.raises(EndpointError) as caught:
        http.endpoint.facts()
    assert caught.value.kind == "unreachable"
    http.server.revive()
    assert http.endpoint.ask(http.answers()).text == "an edit"


@pytest.mark.parametrize(
    "behaviour",
    [hang(), hang("then nothing"), slow("drip " * 100, 0.1), late("too late", 5.0)],
    ids=["no first byte", "silence after a word", "drip by drip", "late first byte"],
)
def test_the_deadline_holds_however_slowly_something_comes(http: HttpCase, behaviour: Behaviour) -> None:
    started = time.monotonic()
    error = failure(http.endpoint, replace(http.then(behaviour), seconds=0.5))
    assert error.kind == "hung" and "0.5 s" in str(error)
    assert time.monotonic() - started < 4
    assert error.partial == "" or behaviour.text.startswith(error.partial)
    assert http.server.chats[0].broke_off.wait(5), "the server goes on generating"


def test_a_slow_answer_within_the_deadline_is_fine(http: HttpCase) -> None:
    assert http.endpoint.ask(http.then(slow("abc", 0.05))).text == "abc"


def test_missing_counts_are_unknown_not_zero(http: HttpCase) -> None:
    reply = http.endpoint.ask(http.then(without_usage(say("fine"))))
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("fine", None, None)


@pytest.mark.slow
def test_thoughts_inside_the_text_are_taken_out(http: HttpCase) -> None:
    reply = http.endpoint.ask(http.then(say("the answer", "let me see", "inline")))
    assert (reply.text, reply.reasoning) == ("the answer", "let me see")
