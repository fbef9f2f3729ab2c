"""Foreign text in markup."""

from __future__ import annotations

import html
import re

from autoresearch_mlx import terms


def escape(text: object) -> str:
    """For element content and quoted attributes."""
    return html.escape(terms.printable(str(text)))


def change(text: str) -> str:
    """A title or a change of knobs: between ``-`` and ``>`` a browser would break the line."""
    return escape(text.replace(" -> ", " → "))


def code(text: str) -> str:
    """A Markdown code span on one line: no HTML, link or mention in it works, and no table cell ends at it."""
    words = terms.one_line(text).replace("|", "\\|") or " "
    fence = "`" * (_longest_run(words) + 1)
    room = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{room}{words}{room}{fence}"


def fenced(text: str, language: str = "") -> str:
    """A Markdown block that nothing in ``text`` can end."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
