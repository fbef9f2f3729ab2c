"""Keep the calls to models in the session's folder: everything that was sent, and every reply.

    talks/0007-1.json     the first call of experiment 7: messages, reply, reasoning, error, counts
    talks/calls.jsonl     one line for each call, with its counts of tokens, from which totals are summed

Both files are written when a call ends, so that the totals are right even if the process is killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx.store.journal import append, held, json_object, whole_lines

FOLDER = "talks"
CALLS = "calls.jsonl"
COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Call:
    """One call to a model, as it is stored.  The counts come from the server; None means unknown."""

    experiment: int
    model: str
    purpose: str
    """``proposal``, ``code``, ``repair``, ``ideas``, or ``command`` for a coding agent, whose own calls to models
    are not counted."""
    messages: Sequence[Mapping[str, str]]
    """The messages as they were sent: ``[{"role": ..., "content": ...}]``."""
    time: str
    reply: str | None = None
    reasoning: str = ""
    finish: str | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    estimated_prompt_tokens: int | None = None
    """Estimate by this tool, used when the server gives no count."""
    load_seconds: float | None = None
    think_seconds: float | None = None
    context_tokens: int | None = None
    cut: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Spent:
    """Total numbers of calls and tokens."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: int = 0
    """Number of calls for which the server sent no counts; the totals contain estimates for these calls."""

    @property
    def tokens(self) -> int:
        """Number of tokens sent and received."""
        return self.prompt_tokens + self.completion_tokens

    def plus(self, call: Call) -> Spent:
        """Return the totals with one more call."""
        return self.and_one(call.prompt_tokens, call.completion_tokens, call.estimated_prompt_tokens, _guess(call))

    def and_one(
        self,
        prompt: int | None,
        completion: int | None,
        estimated_prompt: int | None = None,
        estimated_completion: int | None = None,
    ) -> Spent:
        """Return the totals with one more call, using estimates if the server's counts are missing."""
        return Spent(
            self.calls + 1,
            self.prompt_tokens + (prompt if prompt is not None else estimated_prompt or 0),
            self.completion_tokens + (completion if completion is not None else estimated_completion or 0),
            self.estimated + (prompt is None or completion is None),
        )

    def cost(self, price_in: float | None, price_out: float | None) -> float | None:
        """Return the cost in the currency of the prices, which are per million tokens, or None if a price is
        missing."""
        if price_in is None or price_out is None:
            return None
        return (self.prompt_tokens * price_in + self.completion_tokens * price_out) / 1e6


def keep(folder: Path, call: Call, secrets: Sequence[str] = ()) -> str:
    """Write a call to its file, with stars in place of ``secrets``, and return the file's path relative to ``folder``.

    Raises OSError when the call cannot be written.
    """
    talks = folder / FOLDER
    talks.mkdir(exist_ok=True)
    number = 1 + max((n for n, _ in _files(folder, call.experiment)), default=0)
    path = talks / f"{call.experiment:04d}-{number}.json"
    whole = blotted(asdict(call), secrets)
    path.write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", errors="replace")
    counts = {k: v for k, v in whole.items() if k not in ("messages", "reply", "reasoning", "cut")}
    line = json.dumps({**counts, "estimated_completion_tokens": _guess(call)}, ensure_ascii=False)
    with held(talks / CALLS) as file:
        append(file, line.encode(errors="replace"))
    return path.relative_to(folder).as_posix()


def calls_of(folder: Path, experiment: int) -> Iterator[Mapping[str, Any]]:
    """Yield the calls of an experiment as JSON objects, oldest first; damaged files are left out."""
    for _, path in sorted(_files(folder, experiment)):
        try:
            call = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(call, dict):
            yield call


def spent(folder: Path, experiment: int | None = None) -> Spent:
    """Return the totals over the calls of the session, or of one experiment.

    Damaged lines are left out.  Raises nothing.
    """
    total = Spent()
    for call in _lines(folder / FOLDER / CALLS):
        if call.get("purpose") == COMMAND or experiment not in (None, call.get("experiment")):
            continue
        counts = (_count(call.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        guesses = (_count(call.get(name)) for name in ("estimated_prompt_tokens", "estimated_completion_tokens"))
        total = total.and_one(*counts, *guesses)
    return total


def blotted(value: Any, secrets: Sequence[str]) -> Any:
    """Return the same JSON value with every secret replaced by stars."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***") if secret else value
        return value
    if isinstance(value, Mapping):
        return {blotted(k, secrets): blotted(v, secrets) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [blotted(v, secrets) for v in value]
    return value


def _guess(call: Call) -> int:
    """Estimate the tokens of a reply at four bytes for each token, OpenAI's rule of thumb for English and code."""
    return len(((call.reply or "") + call.reasoning).encode(errors="replace")) // 4


def _files(folder: Path, experiment: int) -> Iterator[tuple[int, Path]]:
    """Yield the files of an experiment's calls with their numbers; files with other names are left out."""
    for path in (folder / FOLDER).glob(f"{experiment:04d}-*.json"):
        number = path.stem.partition("-")[2]
        if number.isascii() and number.isdigit():
            yield int(number), path


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with suppress(OSError):
        for _, line in whole_lines(path):
            if (call := json_object(line)) is not None:
                yield call
