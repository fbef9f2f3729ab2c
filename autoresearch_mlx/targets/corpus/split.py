"""Choose the documents that are held out, by a hash of their content, before there is a tokenizer."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoresearch_mlx.targets.corpus.documents import Batches
from autoresearch_mlx.targets.corpus.near import Known
from autoresearch_mlx.targets.corpus.packing import Tokens
from autoresearch_mlx.targets.corpus.sources import Pooled

SHARE = 0.015
"""Share of the text for each of the two held-out splits, when no number of rows is asked for."""
SMALLEST = 8
"""Least rows of a split: fewer measure nothing."""
BYTES_PER_TOKEN = 8
"""More than any prose or code needs, so that enough is set aside before tokens can be counted."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The findings of one pass over a pool, document by document."""

    keys: npt.NDArray[np.uint64]
    """Hash of each document, ``[documents]``."""
    sizes: npt.NDArray[np.int64]
    """Bytes of each document in UTF-8, ``[documents]``."""
    sha256: str
    skipped: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        """Bytes of all documents."""
        return int(self.sizes.sum())


def survey(pool: Pooled) -> Survey:
    """Read a pool once.  Raises CorpusError."""
    keys, sizes, skipped = array("Q"), array("q"), list[Path]()
    digest = hashlib.sha256()
    for batch in pool.text(skipped.append):
        for text in batch:
            data = text.encode("utf-8")
            keys.append(key(text))
            sizes.append(len(data))
            digest.update(data + b"\0")
    return Survey(np.array(keys, np.uint64), np.array(sizes, np.int64), digest.hexdigest(), tuple(skipped))


def set_aside(found: Survey, rows: Iterable[int | None], width: int, readable: Batches | None = None) -> frozenset[int]:
    """Return the keys of the documents that fill the held-out splits: those with the lowest keys.

    They are counted by bytes, with a reserve, but never more than half of the text.  They do not train the tokenizer;
    documents that the splits do not need go back to the training text.  No document of ``readable`` is among them.
    """
    keys, first = np.unique(found.keys, return_index=True)
    if readable is not None:
        left_out = np.array([key(text) for batch in readable for text in batch], np.uint64)
        secret = ~np.isin(keys, left_out)
        keys, first = keys[secret], first[secret]
    wanted = sum(max(1.5 * SHARE * found.bytes, (n or SMALLEST) * width * BYTES_PER_TOKEN) for n in rows)
    reached = np.cumsum(found.sizes[first])
    enough = int(np.searchsorted(reached, min(wanted, found.bytes / 2))) + 1
    return frozenset(int(each) for each in keys[:enough])


def take(documents: Iterator[Tokens], rows: int, width: int) -> list[Tokens]:
    """Take documents from the front of ``documents`` until they fill ``rows`` rows, or there are no more."""
    taken: list[Tokens] = []
    tokens = 0
    while tokens < rows * width and (document := next(documents, None)) is not None:
        taken.append(document)
        tokens += len(document) + -(-len(document) // (width - 1))  # one BOS for each piece
    return taken


def key(text: str) -> int:
    """Return 64 bits of a BLAKE2b of the text, so that equal documents always fall on the same side."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def noted(batches: Batches, seen: set[int]) -> Batches:
    """Pass the batches on, and add the key of each document to ``seen``."""
    for batch in batches:
        seen.update(key(text) for text in batch)
        yield batch


def without_copies(batches: Batches, known: Known) -> Batches:
    """Pass the batches on without near copies of the known documents."""
    for batch in batches:
        yield [text for text in batch if not known.near(text)]


def learned(batches: Batches, known: Known) -> Batches:
    """Pass the batches on, and make each document known."""
    for batch in batches:
        for text in batch:
            known.add(text)
        yield batch


def without(batches: Batches, seen: Iterable[int]) -> Batches:
    """Pass the batches on without the documents whose keys were in ``seen`` when the first batch is read."""
    known = frozenset(seen)
    for batch in batches:
        yield [text for text in batch if key(text) not in known]


def only(batches: Batches, wanted: frozenset[int]) -> list[str]:
    """Return the wanted documents, each one once, in the order of their keys."""
    found = {key(text): text for batch in batches for text in batch if key(text) in wanted}
    return [found[each] for each in sorted(found)]
