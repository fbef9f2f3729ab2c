"""A name leads to an endpoint: where each key is sent, what ``auto`` chooses, and the message about the choice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from ollama_server import GB, OllamaModel, OllamaServer
from openai_server import OpenAIServer

from autoresearch_mlx.agents.choose_model import open_endpoint, suitable_ollama
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import AgentError, EndpointError
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.models.lmstudio import LmStudio
from autoresearch_mlx.models.mlx import MlxServer
from autoresearch_mlx.models.ollama import Ollama
from autoresearch_mlx.models.openai import OpenAICompatible
from autoresearch_mlx.models.wire import Ask, Message

KEY = "sk-very-secret-0123456789"


def office(memory_gb: float | None = None, **settings: Any) -> Office:
    return Office(AgentSettings(**settings), memory_bytes=None if memory_gb is None else int(memory_gb * GB))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ollama:qwen3-coder:30b", Ollama),
        ("lmstudio:qwen/coder", LmStudio),
        ("mlx:mlx-community/coder", MlxServer),
    ],
)
def test_the_prefix_says_which_server(name: str, kind: type) -> None:
    endpoint = open_endpoint(name, office())
    assert type(endpoint) is kind
    assert endpoint.name == name


def test_each_server_has_its_usual_address_and_the_settings_may_move_it() -> None:
    def where(name: str, **settings: Any) -> str:
        endpoint = open_endpoint(name, office(**settings))
        return endpoint.address if isinstance(endpoint, Ollama) else getattr(endpoint, "base_url", "")

    assert where("lmstudio:m") == "http://127.0.0.1:1234/v1"
    assert where("lmstudio:m", base_url="http://box:1234/v1/") == "http://box:1234/v1"
    assert where("ollama:m", base_url="http://box:11434/v1") == "http://box:11434"
    assert where("openai:m", base_url="http://127.0.0.1:8080/v1") == "http://127.0.0.1:8080/v1"
    assert where("m", base_url="http://127.0.0.1:8080/v1") == "http://127.0.0.1:8080/v1"


def test_a_model_without_a_prefix_is_at_base_url_even_when_its_name_has_a_colon() -> None:
    endpoint = open_endpoint("qwen3-coder:30b", office(base_url="http://127.0.0.1:8080/v1"))
    assert isinstance(endpoint, OpenAICompatible)
    assert (endpoint.name, endpoint.model, endpoint.here) == ("qwen3-coder:30b", "qwen3-coder:30b", True)


def test_port_1234_on_this_machine_is_lm_studio() -> None:
    assert isinstance(open_endpoint("m", office(base_url="http://localhost:1234/v1")), LmStudio)


@pytest.mark.parametrize(
    ("url", "here"), [("http://localhost:8080/v1", True), ("https://models.example.org/v1", False)]
)
def test_only_a_server_on_this_machine_shares_its_memory(url: str, here: bool) -> None:
    endpoint = open_endpoint("m", office(base_url=url))
    assert isinstance(endpoint, OpenAICompatible) and endpoint.here is here


@pytest.mark.parametrize(
    ("name", "settings", "hint"),
    [
        ("olama:qwen3:4b", {}, "did you mean ollama:qwen3:4b?"),
        ("LMstudio:m", {}, "did you mean lmstudio:m?"),
        ("olama:m", {"base_url": "http://127.0.0.1:8080/v1"}, "did you mean ollama:m?"),
        ("qwen3-coder:30b", {}, "ollama:qwen3-coder:30b"),
        ("", {}, "ollama:MODEL"),
        ("", {"base_url": "http://127.0.0.1:8080/v1"}, "model"),
        ("ollama:", {}, "ollama:MODEL"),
        ("m", {"base_url": "127.0.0.1:8080"}, "http://127.0.0.1:8080/v1"),
        ("m", {"base_url": "http://[x/v1"}, "http://127.0.0.1:8080/v1"),
        ("lmstudio:m", {"base_url": "here"}, "http://127.0.0.1:8080/v1"),
    ],
)
def test_a_name_or_address_that_cannot_be_used_is_refused_with_the_next_step(
    name: str, settings: dict[str, Any], hint: str
) -> None:
    with pytest.raises(AgentError) as caught:
        open_endpoint(name, office(**settings))
    assert hint in caught.value.hint
    assert not isinstance(caught.value, EndpointError)


# -- keys: each case runs in a process of its own, with its own environment --------------------------------------------

CHILD = """
import json, sys
from autoresearch_mlx.agents.choose_model import open_endpoint
from autoresearch_mlx.models.wire import Ask, Message
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.errors import AgentError
name, settings, call = json.loads(sys.argv[1])
try:
    endpoint = open_endpoint(name, Office(AgentSettings(**settings)))
    print(endpoint.base_url, endpoint.ask(Ask((Message("user", "hi"),), 2, 16, 20.0)).text if call else "")
except AgentError as error:
    print("error:", error, "|", error.hint)
"""


def child(name: str, settings: dict[str, Any], call: bool = False, **environment: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OPENAI_")}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps([name, settings, call])],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert KEY not in done.stdout
    return done.stdout.strip()


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


def sent(server: OpenAIServer) -> str:
    return server.chats[-1].headers["authorization"].removeprefix("Bearer ")


@pytest.mark.slow
def test_the_key_of_openai_is_not_sent_to_another_base_url(server: OpenAIServer) -> None:
    assert child("openai:m", {"base_url": server.base_url}, True, OPENAI_API_KEY=KEY).endswith("ok")
    assert sent(server) == "none"


@pytest.mark.slow
def test_the_key_that_the_settings_name_is_sent(server: OpenAIServer) -> None:
    settings = {"base_url": server.base_url, "api_key_env": "BOX_KEY"}
    assert child("m", settings, True, BOX_KEY=f" {KEY}\n", OPENAI_API_KEY="another").endswith("ok")
    assert sent(server) == KEY


@pytest.mark.slow
def test_the_environments_own_address_gets_the_environments_own_key(server: OpenAIServer) -> None:
    child("openai:m", {}, True, OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY=KEY)
    assert sent(server) == KEY


def test_without_an_address_it_is_openai_and_needs_the_key() -> None:
    assert child("openai:m", {}, OPENAI_API_KEY=KEY) == "https://api.openai.com/v1"
    said = child("openai:m", {})
    assert said.startswith("error: the environment variable OPENAI_API_KEY does not hold an API key |")
    assert "export OPENAI_API_KEY" in said


def test_a_variable_that_is_named_must_hold_a_key(server: OpenAIServer) -> None:
    settings = {"base_url": server.base_url, "api_key_env": "BOX_KEY"}
    assert "BOX_KEY does not hold an API key" in child("m", settings)
    assert "BOX_KEY does not hold an API key" in child("m", settings, BOX_KEY=f"{KEY} {KEY}")


# -- auto -------------------------------------------------------------------------------------------------------------


def auto(server: OllamaServer, memory_gb: float | None = 32, **settings: Any) -> tuple[str | None, str]:
    endpoint, why = suitable_ollama(office(memory_gb, base_url=server.url, **settings))
    return endpoint.name if endpoint else None, why


def test_code_goes_before_size_and_size_before_the_rest() -> None:
    models = [
        OllamaModel("llama:13b", 8 * GB, "13B"),
        OllamaModel("qwen2.5-coder:7b", 5 * GB, "7.6B"),
        OllamaModel("qwen3-coder:14b", 9 * GB, "14.8B"),
        OllamaModel("qwen3-coder:30b", 18 * GB, "30.5B"),
        OllamaModel("devstral:24b", 30 * GB, "24B"),
    ]
    with OllamaServer(*models) as server:
        name, why = auto(server)
        assert name == "ollama:qwen3-coder:30b"
        assert why == (
            "qwen3-coder:30b is the largest code model of the 4 suitable models (18.0 GB of 32 GB of memory), "
            f"in Ollama at {server.address}"
        )
        assert auto(server, 16)[0] == "ollama:qwen3-coder:14b"
        del server.models[1:4]
        assert auto(server)[0] == "ollama:llama:13b"
        assert auto(server)[1].startswith("llama:13b is the only suitable model (8.0 GB of 32 GB of memory)")


def test_with_memory_unknown_size_keeps_nothing_out_and_that_is_said() -> None:
    with OllamaServer(OllamaModel("coder:120b", 65 * GB, "120B")) as server:
        name, why = auto(server, None)
        assert name == "ollama:coder:120b" and "memory is unknown" in why


@pytest.mark.parametrize("lists", [True, False])
def test_models_that_do_not_suit_are_named_with_what_to_pull(lists: bool) -> None:
    models = [
        OllamaModel("gpt-oss:120b-cloud", 1),
        OllamaModel("nomic-embed-text:latest", capabilities=("embedding",), lists_capabilities=lists),
        OllamaModel("painter:7b", capabilities=("image",), lists_capabilities=lists),
        OllamaModel("coder:30b", 18 * GB),
    ]
    with OllamaServer(*models) as server:
        name, why = auto(server, 16)
        assert name is None
        assert why == (
            f"Ollama at {server.address} has no suitable model: gpt-oss:120b-cloud is in the cloud, "
            "nomic-embed-text:latest does not chat, painter:7b does not chat, "
            "coder:30b takes 18.0 GB, too much for this machine; `ollama pull qwen3.5:9b` downloads a model that fits"
        )


def test_an_ollama_without_models_says_which_to_pull_for_this_memory() -> None:
    with OllamaServer() as server:
        server.models.clear()
        assert auto(server, 64)[1].endswith(
            "it has no models; `ollama pull qwen3-coder:30b` downloads a model that fits"
        )
        assert auto(server, 8)[1].endswith("`ollama pull qwen3.5:4b` downloads a model that fits")


def test_nobody_there_is_said_with_the_address() -> None:
    with OllamaServer() as server:
        server.die()
        assert auto(server) == (None, f"no Ollama answers at {server.address}")


def test_something_else_there_is_said_too() -> None:
    with OpenAIServer() as server:
        endpoint, why = suitable_ollama(office(32, base_url=server.url))
        assert endpoint is None and "404" in why


def test_the_chosen_model_keeps_to_the_context_of_the_settings() -> None:
    with OllamaServer() as server:
        endpoint, _ = suitable_ollama(office(32, base_url=server.url, context_tokens=3000))
        assert endpoint is not None
        endpoint.ask(Ask((Message("user", "hi"),), 2, 2000, 20.0))
        assert server.chats[0].body["options"]["num_ctx"] == 3000
