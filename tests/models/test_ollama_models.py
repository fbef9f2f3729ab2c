"""The address of Ollama, and the model that a name means."""

from __future__ import annotations

import pytest

from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.models.ollama_models import full_name, host_address, is_cloud


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("box", "http://box:11434"),
        ("box:1", "http://box:1"),
        (":8080", "http://127.0.0.1:8080"),
        ("http://box", "http://box:80"),
        ("https://box/", "https://box:443"),
        ("http://box:11434/v1/", "http://box:11434"),
        ("[::1]:5", "http://[::1]:5"),
        ("[::]", "http://[::1]:11434"),
        (' "box:7" ', "http://box:7"),
        ("box:port", "http://box:11434"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(said: str, address: str) -> None:
    assert host_address(said) == address


@pytest.mark.parametrize("said", ["ftp://box", "http://[x", "[::1"])
def test_a_host_that_is_not_an_address_is_refused_with_an_example(said: str) -> None:
    with pytest.raises(AgentError, match="is not the address of an Ollama server") as caught:
        host_address(said)
    assert "127.0.0.1:11434" in caught.value.hint


def test_a_name_without_a_tag_means_the_latest() -> None:
    assert [full_name("qwen3"), full_name("hf.co/me/Qwen3:Q4"), full_name("a/b")] == [
        "qwen3:latest",
        "hf.co/me/qwen3:q4",
        "a/b:latest",
    ]
    assert [is_cloud(name) for name in ("a:cloud", "a:120b-cloud", "cloud:7b", "cloud")] == [True, True, False, False]
