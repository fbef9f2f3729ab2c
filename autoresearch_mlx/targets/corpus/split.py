"""Which documents of a pool are held out: decided by a hash of their content, before any tokenizer exists."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoresearch_mlx.targets.corpus.documents import Batches
from autoresearch_mlx.targets.corpus.packing import Tokens
from autoresearch_mlx.targets.corpus.sources import Pooled

SHARE = 0.015
"""Of the text, for each of the two held-out splits, when no number of rows is asked for."""
SMALLEST = 8
"""Rows: a split with fewer measures nothing."""
BYTES_PER_TOKEN = 8
"""Above what any text of prose or code gives, so that enough is set aside before tokens can be counted."""


@dataclass(frozen=True, slots=True)
class Survey:
    """One pass over a pool: what there is, before anything is decided."""

    keys: npt.NDArray[np.uint64]
    sizes: npt.NDArray[np.int64]
    sha256: str
    skipped: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        return int(self.sizes.sum())


def survey(pool: Pooled) -> Survey:
    keys, sizes, skipped = array("Q"), array("q"), list[Path]()
    digest = hashlib.sha256()
    for batch in pool.text(skipped.append):
        for text in batch:
            data = text.encode("utf-8")
            keys.append(key(text))
            sizes.append(len(data))
            digest.update(data + b"\0")
    return Survey(np.array(keys, np.uint64), np.array(sizes, np.int64), digest.hexdigest(), tuple(skipped))


def set_aside(found: Survey, rows: Iterable[int | None], width: int) -> frozenset[int]:
    """Keys of the documents from which the held-out splits are filled: those with the lowest keys.

    They are chosen by bytes, generously but never more than half, and do not train the tokenizer;
    what the splits leave over goes back to the training text.
    """
    keys, first = np.unique(found.keys, return_index=True)
    wanted = sum(max(1.5 * SHARE * found.bytes, (n or SMALLEST) * width * BYTES_PER_TOKEN) for n in rows)
    reached = np.cumsum(found.sizes[first])
    enough = int(np.searchsorted(reached, min(wanted, found.bytes / 2))) + 1
    return frozenset(int(each) for each in keys[:enough])


def take(documents: Iterator[Tokens], rows: int, width: int) -> list[Tokens]:
    """Documents off the front of ``documents`` until they fill ``rows`` rows, or all there are."""
    taken: list[Tokens] = []
    tokens = 0
    while tokens < rows * width and (document := next(documents, None)) is not None:
        taken.append(document)
        tokens += len(document) + -(-len(document) // (width - 1))  # one BOS for each piece
    return taken


def key(text: str) -> int:
    """64 bits of a hash of the text: equal documents always fall on the same side."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def noted(batches: Batches, seen: set[int]) -> Batches:
    """The same batches; the key of every document that is read goes into ``seen``."""
    for batch in batches:
        seen.update(key(text) for text in batch)
        yield batch


def without(batches: Batches, seen: Iterable[int]) -> Batches:
    """Leave out what was in ``seen`` when the first batch is read."""
    known = frozenset(seen)
    for batch in batches:
        yield [text for text in batch if key(text) not in known]


def only(batches: Batches, wanted: frozenset[int]) -> list[str]:
    """The wanted documents, once each, in the order of their keys."""
    found = {key(text): text for batch in batches for text in batch if key(text) in wanted}
    return [found[each] for each in sorted(found)]
