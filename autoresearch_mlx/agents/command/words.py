"""Title and reason of an edit, from what a coding agent printed."""

from __future__ import annotations

import re

from autoresearch_mlx.terms import cut, one_line, printable

LONGEST_TITLE = 100
_LONGEST_WHY = 1000
_LONGEST_LINE = 10_000
_SAID = re.compile(r"[\s>#-]*([*_`]*)(TITLE|WHY)[*_`]*:[*_`]*\s*(.*)")


def title_of(output: str, prompt: str) -> str:
    """Its last ``TITLE: ...``, else its last short line; empty when there is neither."""
    lines = _own_lines(output, prompt)
    titles = _said(lines, "TITLE")
    short = [line for line in lines if len(line) <= LONGEST_TITLE and any(c.isalnum() for c in line)]
    return cut((titles or short or [""])[-1], LONGEST_TITLE)


def why_of(output: str, prompt: str) -> str:
    """Its last ``WHY: ...``; empty when there is none."""
    return cut((_said(_own_lines(output, prompt), "WHY") or [""])[-1], _LONGEST_WHY)


def last_line(output: str) -> str:
    lines = _lines(output)
    return cut(lines[-1], 300) if lines else ""


def _said(lines: list[str], word: str) -> list[str]:
    found = [match for line in lines if (match := _SAID.fullmatch(line)) and match.group(2) == word]
    texts = [match.group(3).removesuffix(match.group(1)).strip() for match in found]
    return [text for text in texts if text]


def _own_lines(output: str, prompt: str) -> list[str]:
    """The lines without those of the prompt, which some programs print again, its ``TITLE:`` included."""
    told = set(_lines(prompt))
    return [line for line in _lines(output) if line not in told]


def _lines(text: str) -> list[str]:
    """Printable lines without blank ones; progress bars and colours are gone."""
    lines = (one_line(line[:_LONGEST_LINE]) for line in printable(text).split("\n"))
    return [line for line in lines if line]
