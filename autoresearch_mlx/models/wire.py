"""What goes to a model's server and what comes back, whichever server it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

Role: TypeAlias = Literal["system", "user", "assistant"]
Finish: TypeAlias = Literal["stop", "length", "refused", "unknown"]
Think: TypeAlias = Literal["auto", "off", "low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Message:
    """Plain text only: lists of content parts become separate messages on some servers."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One question, whole: servers keep nothing between two of them."""

    messages: tuple[Message, ...]
    prompt_tokens: int
    """Our own estimate of all messages together, from which a context is sized and checked."""
    max_tokens: int
    """Of the reply, thinking included."""
    seconds: float
    """Deadline of the whole call: connecting, loading the model, reading, answering."""
    schema: Mapping[str, Any] | None = None
    """A JSON schema that the text should follow; a server may ignore it, so the text is checked anyway."""
    temperature: float = 0.7
    seed: int | None = None
    think: Think = "auto"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said, reasoning apart.  Counts are the server's own; unknown is ``None``."""

    text: str
    finish: Finish
    model: str
    reasoning: str = ""
    """What it thought before, from a field of its own or from ``<think>`` tags; capped."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    load_seconds: float | None = None
    """Time that the server spent loading the model, where it says so or where we started it."""
    think_seconds: float = 0.0
    """Wall-clock time of the call without the loading."""
    context_tokens: int | None = None
    """The context that the model is known to have been given."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a server tells of a model; unknown is ``None``."""

    model: str
    billions: float | None = None
    """Parameters, in units of 1e9."""
    context_tokens: int | None = None
    """The longest context the model can have."""
    size_bytes: int | None = None
    """Of its weights; memory when loaded is a little more."""
    thinks: bool | None = None
    enforces_schema: bool = False
    """Whether a schema is known to be enforced; the text is validated either way."""
    here: bool = True
    """Whether it shares this machine's memory."""


class Endpoint(Protocol):
    """One model on one server."""

    @property
    def name(self) -> str:
        """``ollama:qwen3-coder:30b``: how a person would choose it again."""
        ...

    def facts(self) -> ModelFacts:
        """What the server tells of the model; asked once and remembered.  Raises EndpointError."""
        ...

    def ask(self, ask: Ask) -> Reply:
        """One call.  Never repeats itself: who calls decides.  Raises EndpointError."""
        ...

    def release(self) -> float | None:
        """Have the model leave this machine's memory and wait until it has; seconds that took.

        ``None`` when there was nothing to release.  Raises EndpointError when it stays.
        """
        ...

    def close(self) -> None:
        """End what this endpoint started.  A server that was there before is left alone."""
        ...
