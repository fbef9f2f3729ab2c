"""Pack documents into rows of equal width by best fit, without padding.

Every row and every document starts with BOS, the token that begins a document.  Each row is filled with the longest
waiting document that still fits.  If none fits, the shortest document is cut to fill the row.  The policy says what
happens to the rest of the cut document:

``crop``    the rest is dropped, as in karpathy/autoresearch, so that val_bpb can be compared with runs there;
``split``   the rest waits again, with a new BOS.  Documents longer than a row are cut into row-sized pieces first, so
            that only the last, incomplete row is lost.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import numpy as np

from autoresearch_mlx.targets.corpus.rows import Rows

Policy: TypeAlias = Literal["crop", "split"]
Tokens: TypeAlias = Rows
"""One document: uint16 ``[n]``, without BOS."""

WAITING = 1000
"""Number of documents from which the packer chooses, as in upstream."""


class Shelf:
    """Documents that wait to be packed, sorted by length; of two equally long documents, the earlier one is taken
    first."""

    def __init__(self) -> None:
        self._keys: list[tuple[int, int]] = []
        self._documents: dict[int, Tokens] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, document: Tokens) -> None:
        """Add a document."""
        insort(self._keys, (len(document), self._arrivals))
        self._documents[self._arrivals] = document
        self._arrivals += 1

    def take(self, room: int) -> Tokens:
        """Remove and return the longest document of at most ``room`` tokens, or the shortest document if all are
        longer."""
        fits = bisect_right(self._keys, (room, self._arrivals))
        first = bisect_left(self._keys, (self._keys[fits - 1][0], -1)) if fits else 0
        return self._documents.pop(self._keys.pop(first)[1])


def pack(batches: Iterable[list[Tokens]], width: int, bos: int, policy: Policy) -> Iterator[Rows]:
    """Yield rows, uint16 ``[width]``; batches of documents are read only as they are needed."""
    source = iter(batches)
    shelf = Shelf()
    while True:
        row = _fill(shelf, source, width, bos, policy)
        if row is None:
            return
        yield row


def _fill(shelf: Shelf, source: Iterator[list[Tokens]], width: int, bos: int, policy: Policy) -> Rows | None:
    """Return one full row, or None if the text ends first."""
    parts: list[Tokens] = []
    room = width
    while room:
        _refill(shelf, source, width, bos, policy)
        if not shelf:
            return None
        document = shelf.take(room)
        parts.append(document[:room])
        if policy == "split" and len(document) > room:
            shelf.put(_with_bos(document[room:], bos))
        room -= len(parts[-1])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _refill(shelf: Shelf, source: Iterator[list[Tokens]], width: int, bos: int, policy: Policy) -> None:
    while len(shelf) < WAITING:
        batch = next(source, None)
        if batch is None:
            return
        for document in batch:
            for piece in _pieces(document, width - 1) if policy == "split" else (document,):
                shelf.put(_with_bos(piece, bos))


def _pieces(document: Tokens, length: int) -> Iterator[Tokens]:
    for start in range(0, max(1, len(document)), length):
        yield document[start : start + length]


def _with_bos(tokens: Tokens, bos: int) -> Tokens:
    return np.concatenate((np.array([bos], dtype=np.uint16), tokens))
