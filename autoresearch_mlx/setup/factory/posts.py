"""Define a post, into which every source is read: a text of limited length, without markup and control codes."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from autoresearch_mlx import terms
from autoresearch_mlx.errors import LabError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row")
LONGEST = 20_000
"""Largest number of characters of a post; the rest of a longer post is cut off."""
_SHORT = 300
"""Largest number of characters of an address, an author or a date."""
_NOBODY = frozenset({"[deleted]", "deleted", "anonymous", "unknown", "none", "null", "ghost", "n/a"})
"""Names that forums use for unknown or deleted authors."""
_TAG = re.compile(
    r"</?(?:p|br|div|a|b|i|em|strong|code|pre|ul|ol|li|blockquote|h\d|span|img|table|tr|td)\b[^<>]*>", re.I
)
_BLOCKS = frozenset({"p", "br", "div", "li", "pre", "blockquote", "tr", "h1", "h2", "h3", "h4"})


@dataclass(frozen=True, slots=True)
class Post:
    """One text that a person wrote, such as a message in a forum."""

    text: str
    address: str
    """Where the post can be found: a URL, or a file's name and the post's number in the file."""
    author: str = ""
    """Name of the author; empty if unknown."""
    date: str = ""
    """Date as the source writes it; empty if unknown."""


def post(text: str, address: str, author: str = "", date: str = "", title: str = "") -> Post | None:
    """Return a post without markup and control codes, cut to :data:`LONGEST`; None if the text has no words."""
    whole = f"{title}\n\n{text}" if title and title.strip() not in text else text
    plain = terms.printable(_without_markup(whole[: 4 * LONGEST])).strip()
    plain = re.sub(r"\n{3,}", "\n\n", plain)[:LONGEST]
    if sum(character.isalnum() for character in plain) < 3:
        return None
    author = "" if author.strip().lower() in _NOBODY else author
    short = [terms.one_line(value)[:_SHORT] for value in (address, author, date)]
    return Post(plain.encode(errors="replace").decode(), *(each.encode(errors="replace").decode() for each in short))


def write_rows(path: Path, rows: Iterable[DataclassInstance]) -> None:
    """Write each row as a JSON object on its own line; after an error, the file is as before.  Raises OSError."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
    temporary.replace(path)


def read_rows(path: Path, made: Callable[..., Row]) -> Iterator[Row]:
    """Yield the rows that :func:`write_rows` wrote, as values of the type ``made``.

    Raises OSError when the file cannot be read, and LabError for a damaged line.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                yield made(**json.loads(line))
            except (ValueError, TypeError, RecursionError):
                said = f"{path}, line {number}, is damaged"
                raise LabError(said, "put the file back, or begin another factory in another folder") from None


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._skip = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._skip += tag in ("script", "style")
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._skip -= tag in ("script", "style") and self._skip > 0

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.parts.append(data)


def _without_markup(text: str) -> str:
    if _TAG.search(text) is None:
        return html.unescape(text) if "&" in text else text
    parser = _Text()
    parser.feed(text)
    parser.close()
    return "".join(parser.parts)
