"""Turn posts into evidence: leave out copies, and count the posts that are independent of each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from autoresearch_mlx.setup.factory.near import Near, minima, normal
from autoresearch_mlx.setup.factory.posts import Post

QUOTE = 500
"""Largest number of characters of a quote."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of evidence: a post that is not a copy of an earlier post."""

    id: int
    text: str
    address: str
    author: str
    date: str
    copies: int = 0
    """Number of later posts whose text is equal or nearly equal to this text."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """The posts of a factory without copies, and the number of copies."""

    pieces: tuple[Piece, ...]
    same: int
    """Number of posts whose words are equal to the words of an earlier post, apart from upper and lower case."""
    near: int
    """Number of posts whose words are nearly equal to the words of an earlier post (MinHash)."""


def sort_out(posts: Iterable[Post]) -> Sorted:
    """Leave out posts that are copies of earlier posts; the remaining posts keep their order."""
    known: dict[str, int] = {}
    near, kept = Near(), list[Post]()
    copies: dict[int, int] = {}
    same = nearly = 0
    for each in posts:
        text = normal(each.text)
        if (first := known.get(text)) is not None:
            same += 1
        else:
            own = minima(text)
            if (first := near.find(own)) is not None:
                nearly += 1
            else:
                near.add(own)
        if first is None:
            first = len(kept)
            kept.append(each)
            known[text] = first
        else:
            known.setdefault(text, first)
            copies[first] = copies.get(first, 0) + 1
    pieces = tuple(
        Piece(n + 1, each.text, each.address, each.author, each.date, copies.get(n, 0)) for n, each in enumerate(kept)
    )
    return Sorted(pieces, same, nearly)


def quoted(piece: Piece, quote: str) -> str | None:
    """Return a model's quote as it is written in the piece, at most :data:`QUOTE` characters.

    Returns None if the quote is not in the piece, or is shorter than 8 characters.  Layout and case may differ.
    """
    wanted = " ".join(quote.split())[:QUOTE]
    # casefold() would change the length of a text with a sharp s, and so the position of the quote.
    found = re.search(re.escape(wanted), " ".join(piece.text.split()), re.IGNORECASE)
    return None if len(wanted) < 8 or found is None else found[0]


def evidence_of(piece: Piece, quote: str) -> dict[str, Any]:
    """Return one piece of evidence of a problem in the form that the ledger stores."""
    return {"piece": piece.id, "quote": quote, "address": piece.address, "author": piece.author, "date": piece.date}


def independent(evidence: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of independent pieces of evidence; pieces with the same author or address count as one.

    Pieces of one file with neither an author nor a web address also count as one, because nothing shows that different
    people wrote them.
    """
    groups: list[set[str]] = []
    for entry in evidence:
        marks = _marks(entry)
        joined = [group for group in groups if group & marks]
        groups = [group for group in groups if not group & marks]
        groups.append(marks.union(*joined))
    return len(groups)


def _marks(entry: Mapping[str, Any]) -> set[str]:
    author, address = normal(str(entry["author"])), str(entry["address"]).strip()
    web = urlsplit(address).scheme in ("http", "https") if "://" in address else False
    marks = {f"address {address.rstrip('/').lower()}"}
    if author:
        marks.add(f"author {author}")
    elif not web:
        marks.add(f"file {address.partition('#')[0]}")
    return marks
