"""Text that others wrote (titles, logs, notes, files) made safe to stand inside a prompt.

It may hold fences, headings, the marks of an edit, terminal codes, or the tokens by which a chat
template tells who speaks; none of them may be taken for the prompt's own.
"""

from __future__ import annotations

import re

from autoresearch_mlx.terms import cut, one_line, printable

_RUNS = re.compile(r"`{3,}|~{3,}")
# `<|im_end|>`, `</s>`, `<think>`, `[INST]`: servers turn these into control tokens wherever they stand.
_TOKENS = re.compile(r"<(?=[|｜]|/?(?:s|bos|eos|think|thinking|start_of_turn|end_of_turn|tool_call)>)|\[(?=/?INST\])")

_LONGEST = 20
"""What is cut to a width is first cut to so many times that, so that a line without end costs nothing."""


def tame(text: str) -> str:
    """The same text without control characters, fences and tokens of chat templates."""
    without = _RUNS.sub(lambda run: "'" * len(run.group()), printable(text))
    return _TOKENS.sub(lambda mark: f"{mark.group()} ", without)


def phrase(text: str, width: int = 100) -> str:
    """One line of at most ``width`` columns."""
    return cut(one_line(tame(text[: _LONGEST * width]))[: 4 * width], width)


def cell(text: str, width: int = 80) -> str:
    """One line that cannot end a table's cell."""
    return phrase(text, width).replace("|", "/")


def block(text: str, info: str = "") -> str:
    """A fenced block with the text as it is; the fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{info}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"


def tail(text: str, lines: int, width: int = 240) -> str:
    """The last lines of a log, tamed, blank ones left out, long ones cut."""
    kept = [line.rstrip() for line in tame(text[-_LONGEST * width * lines :]).split("\n") if line.strip()][-lines:]
    return "\n".join(cut(line[: 4 * width], width) for line in kept)
