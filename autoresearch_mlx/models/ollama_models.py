"""Build Ollama's requests and read its answers: a chat, the installed and loaded models, the facts about a model.

This module does not use the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.models.web import as_json
from autoresearch_mlx.models.wire import Ask, ModelFacts, billions_in, first_number

PORT = 11434


def request(model: str, ask: Ask, context: int, keep_alive: str | int, thinks: bool) -> dict[str, Any]:
    """Return the body for /api/chat.

    ``context`` is the number of tokens of prompt and reply together.  ``thinks`` is true if the ``think`` field may be
    sent.
    """
    room = max(1, context - ask.prompt_tokens)
    options: dict[str, Any] = {
        "num_ctx": context,
        "num_predict": min(ask.max_tokens, room),
        "temperature": ask.temperature,
    }
    if ask.seed is not None:
        options["seed"] = ask.seed
    payload: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in ask.messages],
        "stream": True,
        "options": options,
        "keep_alive": keep_alive,
        "truncate": False,
        "shift": False,
    }
    if ask.schema is not None:
        payload["format"] = ask.schema
    if ask.think != "auto" and thinks:
        level = ask.think if "gpt-oss" in model else True
        payload["think"] = False if ask.think == "off" else level
    return payload


class StreamedChat:
    """The part of a streamed chat that has arrived so far."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.thoughts: list[str] = []
        self.characters = 0
        """Number of characters of text and thoughts."""
        self.last: dict[str, Any] = {}

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def take(self, line: str) -> str:
        """Add one line of the stream; return what is wrong with it, or an empty string."""
        if not line.strip():
            return ""
        data = as_json(line)
        if not isinstance(data, dict):
            return f"without JSON: {line!r}"
        if "error" in data:
            return f"with an error inside its answer: {data['error']}"
        message = data["message"] if isinstance(data.get("message"), dict) else {}
        for name, into in (("content", self.parts), ("thinking", self.thoughts)):
            said = message.get(name)
            if isinstance(said, str):
                into.append(said)
                self.characters += len(said)
        if data.get("done") is True:
            self.last = data
        return ""


@dataclass(frozen=True, slots=True)
class Installed:
    """A model that Ollama has, as ``/api/tags`` lists it; unknown values are None."""

    name: str
    size_bytes: int | None
    billions: float | None
    cloud: bool
    """True if the model runs in the cloud and not on this machine."""
    capabilities: tuple[str, ...] | None
    """Names of the model's capabilities; None for older versions of Ollama, which give the capabilities only in
    ``/api/show``."""
    family: str = ""

    @property
    def embeds(self) -> bool:
        """True if the model only makes embeddings, and cannot answer."""
        if self.capabilities is not None:
            return "completion" not in self.capabilities and "embedding" in self.capabilities
        return "bert" in self.family or "embed" in self.name


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory, as ``/api/ps`` lists it."""

    name: str
    size_bytes: int | None
    context_tokens: int | None


def full_name(name: str) -> str:
    """Return the name with its tag: ``qwen3`` becomes ``qwen3:latest``, which is the same model."""
    return (name if ":" in name.rpartition("/")[2] else f"{name}:latest").lower()


def is_cloud(name: str) -> bool:
    """Return whether the tag marks a model that runs in Ollama's cloud."""
    tag = full_name(name).rpartition(":")[2]
    return tag == "cloud" or tag.endswith("-cloud")


def installed_of(data: Any) -> list[Installed]:
    """Return the installed models in an answer of ``/api/tags``."""
    return [
        Installed(
            name=entry["name"],
            size_bytes=first_number(entry, "size"),
            billions=_billions(entry, entry["name"]),
            cloud=is_cloud(entry["name"]) or bool(entry.get("remote_host")),
            capabilities=_capabilities(entry),
            family=str(_dict(entry, "details").get("family") or ""),
        )
        for entry in _models(data)
    ]


def loaded_of(data: Any) -> list[Loaded]:
    """Return the loaded models in an answer of ``/api/ps``."""
    return [
        Loaded(entry["name"], first_number(entry, "size"), first_number(entry, "context_length"))
        for entry in _models(data)
    ]


def facts_of(model: str, shown: Any, size_bytes: int | None, here: bool) -> ModelFacts:
    """Return the facts in an answer of ``/api/show``; ``size_bytes`` comes from the list of installed models."""
    shown = shown if isinstance(shown, dict) else {}
    info = _dict(shown, "model_info")
    lengths = [key for key in info if key.endswith(".context_length")]
    capabilities = _capabilities(shown)
    # Models on Ollama's MLX engine accept a schema and ignore it.
    gguf = _dict(shown, "details").get("format") == "gguf"
    return ModelFacts(
        model=model,
        billions=_billions(shown, "") or _parameters(info),
        context_tokens=first_number(info, *lengths),
        size_bytes=size_bytes,
        thinks=None if capabilities is None else "thinking" in capabilities,
        enforces_schema=gguf and here,
        here=here,
    )


def completes(shown: Any) -> bool:
    """Return whether the model can answer in a chat, according to an answer of ``/api/show``.

    Returns True if this version of Ollama lists no capabilities.
    """
    capabilities = _capabilities(shown) if isinstance(shown, dict) else None
    return capabilities is None or "completion" in capabilities


def host_address(host: str) -> str:
    """Return the URL for ``OLLAMA_HOST`` in any form that Ollama accepts; the URL has no slash at its end.

    ``0.0.0.0`` is an address for listening, so it becomes 127.0.0.1, an address that can be called.  Without a port,
    Ollama's own port is used, or, after ``http://`` or ``https://``, the default port of HTTP or HTTPS.  Ollama reads
    ``OLLAMA_HOST`` in the same way.  Raises AgentError when ``host`` is not an address.
    """
    host = host.strip().strip("\"'")
    scheme, named, rest = host.partition("://")
    if not named:
        scheme, rest = "http", host
    try:
        parts = urlsplit(f"//{rest}")
        good = parts.hostname is not None or not parts.netloc or parts.netloc.startswith(":")
    except ValueError:
        good = False
    if not good or scheme not in ("http", "https"):
        raise AgentError(
            f"{host!r} is not the address of an Ollama server",
            "write it like 127.0.0.1:11434 (OLLAMA_HOST or base_url)",
        )
    usual = {"http": 80, "https": 443}.get(scheme, PORT) if named else PORT
    try:
        port = parts.port or usual
    except ValueError:
        port = usual
    name = parts.hostname or "127.0.0.1"
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}{path}"


def _models(data: Any) -> list[dict[str, Any]]:
    found = data.get("models") if isinstance(data, dict) else None
    entries = found if isinstance(found, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("name"), str)]


def _dict(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = entry.get(name)
    return value if isinstance(value, dict) else {}


def _capabilities(entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    found = entry.get("capabilities")
    return tuple(map(str, found)) if isinstance(found, list) else None


def _billions(entry: Mapping[str, Any], name: str) -> float | None:
    words = _dict(entry, "details").get("parameter_size")
    return (billions_in(words) if isinstance(words, str) else None) or billions_in(name)


def _parameters(info: Mapping[str, Any]) -> float | None:
    count = first_number(info, "general.parameter_count")
    return count / 1e9 if count else None
