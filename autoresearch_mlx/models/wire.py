"""Define the protocol that every model server implements, and helpers that several servers share.

The second half of this file reads what servers send: thoughts inside a reply, the model's size in its name, and the
token counts that show whether the whole prompt was read.
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
    """One message of a conversation.  A message's content is plain text, because some servers turn a list of parts into
    separate messages."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One question with everything that the server needs for it, because servers remember nothing between two
    questions."""

    messages: tuple[Message, ...]
    prompt_tokens: int
    """Our own estimate of the tokens in all messages, by which the size of the context is chosen and checked."""
    max_tokens: int
    """Maximum number of tokens in the reply, thoughts included."""
    seconds: float
    """Deadline of the whole call, which includes connecting, loading the model and reading the prompt."""
    schema: Mapping[str, Any] | None = None
    """A JSON schema for the reply.  A server may ignore the schema, so the reply is checked in any case."""
    temperature: float = 0.7
    seed: int | None = None
    think: Think = "auto"
    idle_seconds: float = 60.0
    """Longest silence in the middle of the reply, in seconds; after such a silence the call ends with the text that
    has arrived."""

    @property
    def most_characters(self) -> int:
        """Length in characters at which a reply has clearly passed ``max_tokens``, which some servers ignore."""
        return 16 * self.max_tokens + 2000


@dataclass(frozen=True, slots=True)
class Reply:
    """The model's answer, with its thoughts kept apart.  Counts are the server's own; unknown values are None."""

    text: str
    finish: Finish
    model: str
    reasoning: str = ""
    """The model's thoughts, from a field of their own or from ``<think>`` tags; at most ``MOST_CHARACTERS``."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    load_seconds: float | None = None
    """Seconds spent loading the model, where the server reports them or we started the server."""
    think_seconds: float = 0.0
    """Wall-clock time of the call in seconds, without loading."""
    context_tokens: int | None = None
    """Tokens of the context that the model was loaded with, where that is known."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts that a server reports about a model; None means unknown."""

    model: str
    billions: float | None = None
    """Parameters, in units of 1e9, as the server or the checkpoint reports them; a number in the model's name does not
    count."""
    context_tokens: int | None = None
    """The longest context in tokens that the model can have."""
    size_bytes: int | None = None
    """Size of the model's weights in bytes; when loaded, the model takes a little more memory."""
    thinks: bool | None = None
    enforces_schema: bool = False
    """Whether the server is known to enforce a schema; replies are validated either way."""
    here: bool = True
    """Whether the model uses the memory of this machine."""
    unloads: bool = True
    """Whether the server can be asked to unload the model."""


class Endpoint(Protocol):
    """One model on one server.  ``tests/models/test_contract.py`` checks every implementation."""

    @property
    def name(self) -> str:
        """The name by which a user chooses this model, such as ``ollama:qwen3-coder:30b``."""
        ...

    def facts(self) -> ModelFacts:
        """Return what the server reports about the model; the server is asked only once.  Raises EndpointError."""
        ...

    def ask(self, ask: Ask) -> Reply:
        """Make one call.  A failed call is not repeated, because the caller decides whether to repeat it.  Raises
        EndpointError."""
        ...

    def release(self) -> float | None:
        """Unload the model from this machine's memory, wait until it is gone, and return the seconds that this took.

        Returns None when there was nothing to unload.  Raises EndpointError when the model stays in memory.
        """
        ...

    def close(self) -> None:
        """Stop what this endpoint started; a server that was running before is left alone."""
        ...


def closed_object(**properties: Any) -> dict[str, Any]:
    """Return the JSON schema of an object that has all of these properties and no others."""
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
    """Separate a reply into (answer, thoughts).

    ``apart`` has the thoughts that came in a field of their own; these come first in the result.  Thoughts at the
    beginning of the text may contain code fences; after that, a ``<think>`` tag that follows a fence is part of the
    code.  Thoughts are cut at ``MOST_CHARACTERS``, with a note of how much was left out.
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
    """Read the number of parameters, in units of 1e9, from a model's name or a server's description.

    ``qwen3-coder:30b`` gives 30, ``qwen3.5:35b-a3b`` 35 (all parameters, not only the active ones), ``596.05M``
    0.59605; a name without a size gives None.
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
    """Return the first of these fields that is a positive number, as an int."""
    return next((n for n in (whole_number(entry.get(name)) for name in names) if n is not None), None)


UNMEASURED = 0.5
"""Share of our token estimate that the server's count must reach while no earlier call shows how this model counts."""
MEASURED = 0.85
"""Share of the expected count that the server's count must reach once earlier calls show how this model counts."""
SMALLEST = 1024
"""Length in tokens up to which any prompt fits, because every server's default context is at least twice as long."""
_CLEARLY = 0.8


def cut_short(expected: float, count: int | None, context: int | None, measured: bool) -> bool:
    """Return whether a server's token count shows that it did not read the whole prompt.

    ``expected``, ``count`` and ``context`` are in tokens.  An unknown count (None or 0) proves nothing.  A prompt that
    fills the whole context was cut to fit, because it leaves no room for an answer.
    """
    if not count:  # servers leave the count out, or send 0, when the prompt was still in their cache
        return False
    if context is not None and count + 1 >= context:
        return True
    return expected > SMALLEST and count < expected * (MEASURED if measured else UNMEASURED)


class TokenMeter:
    """Learns how one model's token counts compare with our estimates, from prompts that were clearly read whole.

    The meter keeps the ratio of count to estimate, rather than characters per token, because the estimate already
    allows for digits and for scripts other than Latin.
    """

    def __init__(self) -> None:
        self._least: float | None = None

    @property
    def share(self) -> float | None:
        """The smallest ratio of count to estimate so far, at most 1; None before the first whole prompt.

        The smallest ratio is used so that a text with unusually few tokens does not look like a cut prompt.
        """
        return self._least

    def missing(self, estimate: int, count: int | None, context: int | None) -> str:
        """Return a sentence with both counts if they show that part of a prompt was not read; else return an empty
        string.

        ``estimate`` is our own count of the prompt, ``count`` the server's; both and ``context`` are in tokens.
        """
        expected = estimate * (self._least or 1.0)
        if cut_short(expected, count, context, self._least is not None):
            room = f" in a context of {context}" if context is not None else ""
            return f"the model read {count} tokens{room} of a prompt of about {round(expected)}"
        if count and estimate > 0 and _clearly_whole(estimate, count, context):
            self._least = min(self._least or 1.0, count / estimate)
        return ""


def _clearly_whole(estimate: int, count: int, context: int | None) -> bool:
    """Return whether a prompt was surely read whole, because a cut prompt would fill half of the context or nearly all
    of it."""
    roomy = context is not None and estimate < context and count < 0.4 * context
    return count >= _CLEARLY * estimate or roomy
