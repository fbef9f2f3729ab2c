"""Make untrusted text (titles, logs, notes, files) safe inside a prompt.

The text may contain fences, headings, the marks of an edit, terminal codes, or the tokens with which a chat template
marks the speaker.  A model must not mistake any of these for a part of the prompt.
"""

from __future__ import annotations

import re

from autoresearch_mlx.terms import cut, one_line, printable

_RUNS = re.compile(r"`{3,}|~{3,}")
# Servers turn `<|im_end|>`, `</s>`, `<think>`, `[INST]` and similar texts into control tokens wherever they occur.
_TOKENS = re.compile(r"<(?=[|｜]|/?(?:s|bos|eos|think|thinking|start_of_turn|end_of_turn|tool_call)>)|\[(?=/?INST\])")

_LONGEST = 20
"""A text is first cut to this multiple of the wanted width, so that a very long line takes little time."""


def tame(text: str) -> str:
    """Return the text without control characters, fences and tokens of chat templates."""
    without = _RUNS.sub(lambda run: "'" * len(run.group()), printable(text))
    return _TOKENS.sub(lambda mark: f"{mark.group()} ", without)


def phrase(text: str, width: int = 100) -> str:
    """Return the text as one line of at most ``width`` columns."""
    return cut(one_line(tame(text[: _LONGEST * width]))[: 4 * width], width)


def cell(text: str, width: int = 80) -> str:
    """Return the text as one line without ``|``, which would end the cell of a table."""
    return phrase(text, width).replace("|", "/")


def block(text: str, info: str = "") -> str:
    """Return the unchanged text in a fenced block; the fence is longer than any fence in the text."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{info}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"


def tail(text: str, lines: int, width: int = 240) -> str:
    """Return the last lines of a log, made safe by :func:`tame`, without blank lines; long lines are cut."""
    kept = [line.rstrip() for line in tame(text[-_LONGEST * width * lines :]).split("\n") if line.strip()][-lines:]
    return "\n".join(cut(line[: 4 * width], width) for line in kept)
