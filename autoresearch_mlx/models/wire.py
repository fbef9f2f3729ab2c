"""Define the protocol that every model server implements, and helpers that several servers share.

The second half of this file reads what servers send: thoughts inside a reply, the model's size in its name, and token
counts.  The token counts show whether the model read the whole prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

Role: TypeAlias = Literal["system", "user", "assistant"]
Finish: TypeAlias = Literal["stop", "length", "refused", "unknown"]
Think: TypeAlias = Literal["auto", "off", "low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    The content is plain text, because some servers turn a list of parts into separate messages.
    """

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One question, with all earlier messages, because servers remember nothing between two questions."""

    messages: tuple[Message, ...]
    prompt_tokens: int
    """Our estimate of the tokens in all messages; the context's size is chosen and checked with this estimate."""
    max_tokens: int
    """Maximum number of tokens in the reply, thoughts included."""
    seconds: float
    """Deadline of the whole call, which includes connecting, loading the model and reading the prompt."""
    schema: Mapping[str, Any] | None = None
    """JSON schema for the reply, or None.  A server may ignore the schema, so the reply is always checked."""
    temperature: float = 0.7
    seed: int | None = None
    think: Think = "auto"
    idle_seconds: float = 60.0
    """Longest pause within the reply, in seconds; after a longer pause, the call fails with the text that has
    arrived."""

    @property
    def most_characters(self) -> int:
        """Number of characters above which a reply surely exceeds ``max_tokens``, a limit that some servers ignore."""
        return 16 * self.max_tokens + 2000


@dataclass(frozen=True, slots=True)
class Reply:
    """The model's answer, separate from its thoughts.  Counts are the server's counts; unknown values are None."""

    text: str
    finish: Finish
    model: str
    reasoning: str = ""
    """The model's thoughts, from a separate field or from ``<think>`` tags; at most ``MOST_CHARACTERS`` characters."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    load_seconds: float | None = None
    """Seconds spent loading the model; None if the server does not report them and was not started by this program."""
    think_seconds: float = 0.0
    """Wall-clock time of the call in seconds, without loading."""
    context_tokens: int | None = None
    """Context length, in tokens, with which the model was loaded; None if it is unknown."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts that a server reports about a model; None means unknown."""

    model: str
    billions: float | None = None
    """Number of parameters in 1e9, as the server or the checkpoint reports it; a number in the model's name is not
    used."""
    context_tokens: int | None = None
    """The longest context in tokens that the model can have."""
    size_bytes: int | None = None
    """Size of the model's weights in bytes; a loaded model takes a little more memory."""
    thinks: bool | None = None
    enforces_schema: bool = False
    """True if the server is known to enforce a schema; the replies are checked in any case."""
    here: bool = True
    """True if the model uses the memory of this machine."""
    unloads: bool = True
    """True if the server can unload the model on request."""


class Endpoint(Protocol):
    """One model on one server.  ``tests/models/test_contract.py`` checks every implementation."""

    @property
    def name(self) -> str:
        """The name by which a user chooses this model, such as ``ollama:qwen3-coder:30b``."""
        ...

    def facts(self) -> ModelFacts:
        """Return what the server reports about the model; the server is asked only once.

        Raises EndpointError when the server cannot be asked, or does not have the model.
        """
        ...

    def ask(self, ask: Ask) -> Reply:
        """Make one call, and return the reply.

        Raises EndpointError when the call fails; the caller decides whether to repeat the call.
        """
        ...

    def release(self) -> float | None:
        """Unload the model from this machine's memory, wait until it is free, and return the seconds until then.

        Returns None when the model was not loaded, or cannot be unloaded.  Raises EndpointError when the model stays in
        memory.
        """
        ...

    def close(self) -> None:
        """Stop what this endpoint started; a server that was running before is left alone."""
        ...


def closed_object(**properties: Any) -> dict[str, Any]:
    """Return the JSON schema of an object that has all these properties, and no other property."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


MOST_CHARACTERS = 20_000
_TAGGED = re.compile(r"<think(?:ing)?>(.*?)(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_CLOSED = re.compile(r"(.*?)</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE = "```"


def split_thoughts(text: str, apart: str = "") -> tuple[str, str]:
    """Return a reply's answer and its thoughts, as two texts.

    ``apart`` has the thoughts that the server sent in a separate field; they come first in the result.  Thoughts at the
    beginning of the text may contain code fences.  Further on, a ``<think>`` tag that follows a fence is part of the
    code.  Thoughts are cut at ``MOST_CHARACTERS``, with a note that gives the number of characters left out.
    """
    inline: list[str] = []
    first = _TAGGED.match(text.lstrip()) or _CLOSED.match(text)
    if first is not None:
        inline.append(first[1])
        text = first.string[first.end() :]
    prose, fence, code = text.partition(_FENCE)
    inline += _TAGGED.findall(prose)
    text = _TAGGED.sub("", prose) + fence + code
    thoughts = [part.strip() for part in (apart, *inline)]
    return text.strip() if inline else text, _capped("\n\n".join(filter(None, thoughts)))


def _capped(text: str) -> str:
    left_out = len(text) - MOST_CHARACTERS
    return text if left_out <= 0 else f"{text[:MOST_CHARACTERS]}\n[{left_out} characters left out]"


_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)


def billions_in(name: str) -> float | None:
    """Return the number of parameters, in 1e9, from a model's name or a server's description; None without a size.

    ``qwen3-coder:30b`` gives 30, and ``596.05M`` gives 0.59605.  ``qwen3.5:35b-a3b`` gives 35, the number of all
    parameters, not only the active parameters.
    """
    found = _SIZE.search(name)
    if found is None:
        return None
    experts, number, unit = found.groups()
    return float(number) * int(experts or 1) / (1000 if unit in "mM" else 1)


def whole_number(value: Any) -> int | None:
    """Return a positive number as an int; None for anything else."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


def first_number(entry: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of the fields ``names`` that is a positive number, as an int; None if there is none."""
    return next((n for n in (whole_number(entry.get(name)) for name in names) if n is not None), None)


UNMEASURED = 0.5
"""Before the first whole prompt, a prompt counts as cut if the server's count is below this share of our estimate."""
MEASURED = 0.85
"""After the first whole prompt, a prompt counts as cut if the server's count is below this share of the count expected
from earlier calls."""
SMALLEST = 1024
"""A prompt of at most this many tokens always fits, because every server's default context is at least twice as
long."""
_CLEARLY = 0.8


def cut_short(expected: float, count: int | None, context: int | None, measured: bool) -> bool:
    """Return whether a server's token count shows that the model read only a part of the prompt.

    ``expected`` is the prompt's expected count, ``count`` is the server's count, and ``context`` is the length of the
    context.  An unknown count (None or 0) shows nothing.  If the count fills the whole context, the prompt was cut,
    because there is no room for an answer.
    """
    if not count:  # servers leave the count out, or send 0, when the prompt was still in their cache
        return False
    if context is not None and count + 1 >= context:
        return True
    return expected > SMALLEST and count < expected * (MEASURED if measured else UNMEASURED)


class TokenMeter:
    """Learns the ratio of a model's token counts to our estimates, from prompts that were clearly read whole.

    The meter does not use characters per token, because our estimate already allows for digits and for scripts other
    than Latin.
    """

    def __init__(self) -> None:
        self._least: float | None = None

    @property
    def share(self) -> float | None:
        """The smallest ratio of count to estimate so far, at most 1; None before the first whole prompt.

        With the smallest ratio, a text with unusually few tokens does not look like a cut prompt.
        """
        return self._least

    def missing(self, estimate: int, count: int | None, context: int | None) -> str:
        """Return a sentence if the counts show that a part of a prompt was not read, or else an empty string.

        ``estimate`` is our estimate of the prompt's tokens, ``count`` is the server's count, and ``context`` is the
        length of the context in tokens.
        """
        expected = estimate * (self._least or 1.0)
        if cut_short(expected, count, context, self._least is not None):
            room = f", in a context of {context}" if context is not None else ""
            return f"the model read {count} tokens of a prompt of about {round(expected)}{room}"
        if count and estimate > 0 and _clearly_whole(estimate, count, context):
            self._least = min(self._least or 1.0, count / estimate)
        return ""


def _clearly_whole(estimate: int, count: int, context: int | None) -> bool:
    """Return whether a prompt was surely read whole.

    A prompt that was cut would fill half of the context, or nearly the whole context.
    """
    roomy = context is not None and estimate < context and count < 0.4 * context
    return count >= _CLEARLY * estimate or roomy
