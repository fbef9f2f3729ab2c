"""Write the calls to models as plain text: ``show --prompt``, ``show --reply``, and what the calls cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.store.talks import Spent

_RULE = "=" * 72


def render_prompts(calls: Sequence[Mapping[str, Any]]) -> str:
    """Write out every message of every call, as it was sent."""
    return "\n".join(line for number, call in enumerate(calls, 1) for line in _prompt(number, call))


def render_replies(calls: Sequence[Mapping[str, Any]]) -> str:
    """Write out every reply, with the model's thinking before it, or the error if there was no reply."""
    return "\n".join(line for number, call in enumerate(calls, 1) for line in _reply(number, call))


def spent_words(spent: Spent, cost: float | None, caps: tuple[int | None, float | None]) -> str:
    """Return text such as ``12 calls, 84,120 of 2,000,000 tokens, cost 0.1301 of 5``.

    ``caps`` has the limits on tokens and cost.
    """
    most_tokens, most_cost = caps
    words = [
        terms.plural(spent.calls, "call"),
        f"{spent.tokens:,}" + (f" of {most_tokens:,}" if most_tokens is not None else "") + " tokens",
    ]
    if cost is not None:
        words.append(f"cost {cost:.4f}" + (f" of {most_cost:g}" if most_cost is not None else ""))
    if spent.estimated:
        words.append(f"estimated for {terms.plural(spent.estimated, 'call')} without the server's count")
    return ", ".join(words)


def _prompt(number: int, call: Mapping[str, Any]) -> Iterator[str]:
    counted, guess = _number(call, "prompt_tokens"), _number(call, "estimated_prompt_tokens")
    tokens = f"{counted:,} tokens" if counted is not None else f"about {guess or 0:,} tokens by our estimate"
    yield f"{_RULE}\n{_head(number, call)}; prompt {tokens}"
    if cut := _list(call, "cut"):
        yield f"cut to fit: {terms.printable('; '.join(map(str, cut)))}"
    for message in _list(call, "messages"):
        if isinstance(message, Mapping):
            yield f"{_RULE}\n[{message.get('role')}]\n{terms.printable(str(message.get('content', '')))}"


def _reply(number: int, call: Mapping[str, Any]) -> Iterator[str]:
    counted, seconds = _number(call, "completion_tokens"), _number(call, "think_seconds")
    loading = _number(call, "load_seconds")
    facts = [_head(number, call), f"finish {call.get('finish') or terms.UNKNOWN}"]
    facts += [f"{counted:,} tokens"] if counted is not None else []
    facts += [f"{seconds:.1f} s"] if seconds is not None else []
    facts += [f"loading {loading:.1f} s"] if loading else []
    yield f"{_RULE}\n{', '.join(facts)}\n{_RULE}"
    if call.get("reasoning"):
        yield f"[thinking]\n{terms.printable(str(call['reasoning']))}\n[reply]"
    if call.get("error"):
        yield f"[error] {terms.printable(str(call['error']))}"
    if call.get("reply"):
        yield terms.printable(str(call["reply"]))


def _head(number: int, call: Mapping[str, Any]) -> str:
    return terms.one_line(f"call {number}: {call.get('purpose')} from {call.get('model')}, {call.get('time')}")


def _number(call: Mapping[str, Any], name: str) -> float | None:
    """Return the number in a call's field, or None if the field has something else, as after an edit by hand."""
    value = call.get(name)
    return value if isinstance(value, int | float) else None


def _list(call: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = call.get(name)
    return value if isinstance(value, list | tuple) else ()
