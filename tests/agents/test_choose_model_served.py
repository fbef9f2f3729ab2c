"""Which model is used when nobody names one, and what a server at ``base_url`` is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from chat_cases import FACTS, Voice, chat
from ollama_server import GB, OllamaModel, OllamaServer
from openai_server import OpenAIServer
from prompt_cases import small
from server_behaviours import say

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.choose_model import open_endpoint, suitable_model
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.models.wire import Ask, Message

QUESTION = Ask((Message("user", "hi"),), 2, 16, 20.0)


def office(said: list[str] | None = None, **settings: Any) -> Office:
    return Office(AgentSettings(**settings), memory_bytes=32 * GB, say=(said if said is not None else []).append)


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", **more}


@pytest.mark.parametrize(
    ("listed", "model", "served"),
    [
        (["/models/smol.gguf"], "any", "/models/smol.gguf"),
        (["/models/smol.gguf"], "smollm2", "/models/smol.gguf"),
        (["org/one", "org/two", "/models/mine"], "any", "/models/mine"),
        (["org/one", "org/two"], "org/two", "org/two"),
        (["org/one", "org/two"], "org/three", "org/three"),
        (["org/one", "org/two"], "any", "org/one"),
        ([], "any", "default_model"),
        (None, "any", "default_model"),
    ],
)
def test_a_model_is_asked_for_by_the_name_that_its_server_knows(
    listed: list[str] | None, model: str, served: str
) -> None:
    with OpenAIServer() as server:
        server.models = None if listed is None else [entry(name) for name in listed]
        endpoint = open_endpoint(model, office(base_url=server.base_url))
        endpoint.facts()
        endpoint.ask(QUESTION)
        assert server.chats[-1].body["model"] == served
        assert endpoint.name == model


def test_an_alias_is_a_name_of_its_model() -> None:
    with OpenAIServer() as server:
        server.models = [entry("other"), entry("smol.gguf", aliases=["mine"], meta={"n_ctx": 4096})]
        assert open_endpoint("mine", office(base_url=server.base_url)).facts().context_tokens == 4096


@pytest.mark.parametrize("listed", [["smol.gguf"], ["/models/a"], ["org/cached", "/models/a"]])
def test_auto_asks_a_configured_address_as_what_it_is(listed: list[str]) -> None:
    with OpenAIServer() as server:
        server.models = [entry(name) for name in listed]
        said: list[str] = []
        agent = load_agent("auto", office(said, base_url=server.base_url))
        assert agent.name == "hybrid" and f"hybrid with {listed[-1]}" in said[0] and server.address in said[0]
        assert "Ollama" not in said[0]


def test_several_models_need_a_name_and_are_listed() -> None:
    with OpenAIServer() as server:
        server.models = [entry("one"), entry("two")]
        said: list[str] = []
        assert load_agent("auto", office(said, base_url=server.base_url)).name == "knobs"
        assert "several models (one, two); name one" in said[0]
        with pytest.raises(AgentError, match="several models"):
            load_agent("hybrid", office(base_url=server.base_url))


def test_an_address_where_nobody_answers_is_said_without_talk_of_ollama() -> None:
    with OpenAIServer() as server:
        url = server.base_url
    chosen, why = suitable_model(office(base_url=url))
    assert chosen is None and "no server answers" in why and "Ollama" not in why


@pytest.mark.parametrize("end", ["", "/v1"])
def test_an_ollama_at_a_configured_address_is_asked_as_an_ollama(end: str) -> None:
    with OllamaServer(OllamaModel("tiny:1b")) as server:
        chosen, _ = suitable_model(office(base_url=server.url + end))
        assert chosen is not None and chosen.name == "ollama:tiny:1b"


def test_only_a_server_that_can_unload_is_said_to_unload() -> None:
    with OpenAIServer() as server:
        server.default = say("ok")
        assert not open_endpoint("any", office(base_url=server.base_url)).facts().unloads
    history = small().history
    stays = chat(Voice("1", facts=replace(FACTS, unloads=False)))
    assert stays.memory_words(history) == "stays in memory, because its server cannot unload it"
    assert chat(Voice("1", facts=FACTS)).memory_words(history).startswith("unloads before training")
