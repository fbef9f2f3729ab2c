"""What goes to a model's server and what comes back, whichever server it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias


def closed_object(**properties: Any) -> dict[str, Any]:
    """An object with all of these properties and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


UNMEASURED = 0.5
"""Least share of our estimate that a count must reach before this model's tokens are known."""
MEASURED = 0.85
"""The same share of what whole calls have shown to be true of this model."""
SMALLEST = 1024
"""Tokens of a prompt that fits whatever was loaded: no server loads less than twice that by itself."""
_CLEARLY = 0.8


def cut_short(expected: float, count: int | None, context: int | None, measured: bool) -> bool:
    """Whether the count shows that part of the prompt was not read; an unknown count shows nothing.

    All arguments are in tokens.  A prompt that fills its context leaves no room to answer: it was cut to fit.
    """
    if not count:  # servers leave it out, or say 0, when the prompt was still in their cache
        return False
    if context is not None and count + 1 >= context:
        return True
    return expected > SMALLEST and count < expected * (MEASURED if measured else UNMEASURED)


class TokenMeter:
    """Learns what share of our estimate one model's prompts really have, from calls that were clearly whole.

    A share of the estimate, not characters per token: the estimate knows digits and other scripts already.
    """

    def __init__(self) -> None:
        self._least: float | None = None

    @property
    def share(self) -> float | None:
        """The least seen, at most 1: a text of few tokens must not look like a cut prompt.  ``None`` at first."""
        return self._least

    def missing(self, estimate: int, count: int | None, context: int | None) -> str:
        """What was not read, in words with both numbers; empty when nothing is known to be missing."""
        expected = estimate * (self._least or 1.0)
        if cut_short(expected, count, context, self._least is not None):
            room = f" in a context of {context}" if context is not None else ""
            return f"the model read {count} tokens{room} of a prompt of about {round(expected)}"
        if count and estimate > 0 and _clearly_whole(estimate, count, context):
            self._least = min(self._least or 1.0, count / estimate)
        return ""


def _clearly_whole(estimate: int, count: int, context: int | None) -> bool:
    """A cut leaves half of a context or nearly all of it; a count far below either, with room to spare, is whole."""
    roomy = context is not None and estimate < context and count < 0.4 * context
    return count >= _CLEARLY * estimate or roomy


MOST_CHARACTERS = 20_000
_TAGGED = re.compile(r"<think(?:ing)?>(.*?)(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_CLOSED = re.compile(r"(.*?)</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE = "```"


def split_thoughts(text: str, apart: str = "") -> tuple[str, str]:
    """(what was said, what was thought).  ``apart``: thoughts from a field of their own, which come first.

    Thoughts that come first may hold fences; once something was said, a tag behind a fence is code.  Thoughts
    are capped at ``MOST_CHARACTERS``; the end says how much was left out.
    """
    inline: list[str] = []
    first = _TAGGED.match(text.lstrip()) or _CLOSED.match(text)
    if first is not None:
        inline.append(first[1])
        text = first.string[first.end() :]
    talk, fence, code = text.partition(_FENCE)
    inline += _TAGGED.findall(talk)
    text = _TAGGED.sub("", talk) + fence + code
    thoughts = [part.strip() for part in (apart, *inline)]
    return text.strip() if inline else text, _capped("\n\n".join(filter(None, thoughts)))


def _capped(text: str) -> str:
    left_out = len(text) - MOST_CHARACTERS
    return text if left_out <= 0 else f"{text[:MOST_CHARACTERS]}\n[{left_out} characters left out]"


_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)


def billions_in(name: str) -> float | None:
    """Parameters in units of 1e9, as a model's name or a server's words say them.

    ``qwen3-coder:30b`` 30, ``qwen3.5:35b-a3b`` 35 (all of them, not only the active ones), ``596.05M`` 0.59605.
    """
    found = _SIZE.search(name)
    if found is None:
        return None
    experts, number, unit = found.groups()
    return float(number) * int(experts or 1) / (1000 if unit in "mM" else 1)


def whole_number(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


def first_number(entry: Mapping[str, Any], *names: str) -> int | None:
    """The first of these fields that holds a positive number."""
    return next((n for n in (whole_number(entry.get(name)) for name in names) if n is not None), None)


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
