"""The facts that an OpenAI-compatible server, and LM Studio, report about a model; and how LM Studio unloads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openai_server import OpenAIServer

from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.models.lmstudio import LmStudio
from autoresearch_mlx.models.openai import OpenAICompatible
from autoresearch_mlx.models.web import is_here
from autoresearch_mlx.models.wire import ModelFacts, billions_in


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


def at(server: OpenAIServer, model: str = "tiny-1b", **more: Any) -> OpenAICompatible:
    return OpenAICompatible(f"openai:{model}", server.base_url, model, None, here=True, **more)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("qwen3-coder:30b", 30),
        ("gpt-oss-120b", 120),
        ("qwen3.5:35b-a3b", 35),
        ("qwen3.5:0.8b", 0.8),
        ("mixtral-8x7b-instruct", 56),
        ("mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit", 30),
        ("596.05M", 0.59605),
        ("30.5B", 30.5),
        ("gpt-5", None),
        ("llama3.2", None),
        ("", None),
    ],
)
def test_billions_of_parameters_by_a_models_name(name: str, billions: float | None) -> None:
    assert billions_in(name) == (None if billions is None else pytest.approx(billions))


@pytest.mark.parametrize(
    ("entry", "context"),
    [
        ({"meta": {"n_ctx": 8192, "n_ctx_train": 32768}}, 8192),
        ({"max_context_length": 4096}, 4096),
        ({"context_length": 131072}, 131072),
        ({"max_model_len": 2048}, 2048),
        ({"context_length": "many", "meta": None}, None),
        ({}, None),
    ],
)
def test_the_context_is_read_wherever_a_server_puts_it(
    server: OpenAIServer, entry: dict[str, Any], context: int | None
) -> None:
    server.models = [{"id": "other"}, {"id": "tiny-1b", **entry}]
    assert at(server).facts() == ModelFacts("tiny-1b", context_tokens=context, unloads=False)


def test_llama_server_is_known_to_enforce_a_schema(server: OpenAIServer) -> None:
    meta = {"n_ctx": 8192, "n_params": 494032768, "size": 500_000_000}
    server.models = [{"id": "tiny-1b", "owned_by": "llamacpp", "meta": meta}]
    facts = at(server).facts()
    assert (facts.enforces_schema, facts.size_bytes, facts.billions) == (True, 500_000_000, 0.494032768)
    assert not at(server, schema=False).facts().enforces_schema


def test_facts_are_asked_once_and_unknown_without_a_list(server: OpenAIServer) -> None:
    server.models = None
    endpoint = at(server, "gpt-oss-20b")
    assert endpoint.facts() == endpoint.facts() == ModelFacts("gpt-oss-20b", unloads=False)
    assert len(server.of("/v1/models")) == 1


@pytest.mark.parametrize("slot", [4096, None])
def test_llama_server_tells_the_context_of_one_request(server: OpenAIServer, slot: int | None) -> None:
    """A llama-server with several slots divides the whole context among them."""
    server.models = [{"id": "tiny-1b", "owned_by": "llamacpp", "meta": {"n_ctx": 16384}}]
    server.props = None if slot is None else {"default_generation_settings": {"n_ctx": slot}}
    assert at(server).facts().context_tokens == (slot or 16384)


def test_nothing_is_released_where_there_is_no_word_for_it(server: OpenAIServer) -> None:
    endpoint = at(server)
    assert endpoint.release() is None
    endpoint.close()
    assert (endpoint.name, server.requests) == ("openai:tiny-1b", [])


def test_only_this_machine_is_here() -> None:
    assert all(map(is_here, ["localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]", "0.0.0.0"]))
    assert not any(map(is_here, ["192.0.2.7", "example.org", "", "2001:db8::1"]))


# -- LM Studio --------------------------------------------------------------------------------------------------------


def studio(server: OpenAIServer, model: str = "qwen/coder") -> LmStudio:
    return LmStudio(f"lmstudio:{model}", server.base_url, model, None, here=True)


def entry(*instances: str) -> dict[str, Any]:
    return {
        "key": "qwen/coder",
        "size_bytes": 17_000_000_000,
        "params_string": "30B",
        "max_context_length": 262144,
        "loaded_instances": [{"id": each, "config": {"context_length": 8192}} for each in instances],
    }


def test_lm_studio_tells_the_context_that_is_loaded(server: OpenAIServer) -> None:
    server.lmstudio = [entry("qwen/coder")]
    expected = ModelFacts("qwen/coder", 30.0, 8192, 17_000_000_000, enforces_schema=True)
    assert studio(server).facts() == expected
    server.lmstudio = [entry()]
    assert studio(server).facts().context_tokens == 262144


def test_an_older_lm_studio_tells_less(server: OpenAIServer) -> None:
    server.lmstudio_v0 = [{"id": "qwen/coder", "max_context_length": 32768, "loaded_context_length": 4096}]
    assert studio(server).facts().context_tokens == 4096
    assert studio(server).release() is None
    assert studio(server, "gone-7b").facts() == ModelFacts("gone-7b", unloads=False)


def test_lm_studio_unloads_every_instance_of_the_model_and_no_other(server: OpenAIServer) -> None:
    other = {**entry("other"), "key": "other"}
    server.lmstudio = [entry("qwen/coder", "qwen/coder:2"), other]
    seconds = studio(server).release()
    assert seconds is not None and seconds < 10
    assert [len(model["loaded_instances"]) for model in server.lmstudio] == [0, 1]
    assert studio(server).release() is None


def test_a_model_that_stays_loaded_is_told(server: OpenAIServer) -> None:
    server.lmstudio, server.unloads = [entry("qwen/coder")], False
    with pytest.raises(EndpointError, match="still lists qwen/coder") as caught:
        studio(server).release(seconds=0.3)
    assert caught.value.kind == "hung"
