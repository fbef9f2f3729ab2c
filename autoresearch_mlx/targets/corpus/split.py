"""Choose the held-out documents by a hash of their content, before there is a tokenizer."""

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
"""Share of the text for each of the two held-out splits if no number of rows is requested."""
SMALLEST = 8
"""Smallest number of rows of a split; fewer rows would measure too little."""
BYTES_PER_TOKEN = 8
"""Bytes of text that are set aside for each token that is needed.  The number is larger than prose or code
needs, because the tokens cannot be counted yet."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Facts about the documents of a source, collected in one pass."""

    keys: npt.NDArray[np.uint64]
    """Hash of each document, ``[documents]``."""
    sizes: npt.NDArray[np.int64]
    """Size of each document in bytes of UTF-8, ``[documents]``."""
    sha256: str
    skipped: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        """Size of all documents together in bytes."""
        return int(self.sizes.sum())


def survey(pool: Pooled) -> Survey:
    """Read a source once and return the facts about its documents.  Raises CorpusError."""
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
    """Return the keys of the documents that are set aside for the held-out splits: those with the lowest keys.

    Enough documents are set aside to fill the rows, with a reserve, but never more than half of the text in bytes.
    Documents that are set aside do not train the tokenizer.  Documents that the splits do not need in the end return to
    the training text.  No document of ``readable`` is set aside.
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
    """Take documents until the taken documents fill ``rows`` rows or no document is left."""
    taken: list[Tokens] = []
    tokens = 0
    while tokens < rows * width and (document := next(documents, None)) is not None:
        taken.append(document)
        tokens += len(document) + -(-len(document) // (width - 1))  # one BOS for each piece
    return taken


def key(text: str) -> int:
    """Return 64 bits of the BLAKE2b hash of a text.  Equal documents have the same key, so they fall into the same
    split."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def noted(batches: Batches, seen: set[int]) -> Batches:
    """Yield the batches unchanged, and add the key of each document to ``seen``."""
    for batch in batches:
        seen.update(key(text) for text in batch)
        yield batch


def without_copies(batches: Batches, known: Known) -> Batches:
    """Yield the batches without near copies of the known documents."""
    for batch in batches:
        yield [text for text in batch if not known.near(text)]


def learned(batches: Batches, known: Known) -> Batches:
    """Yield the batches unchanged, and add each document to ``known``."""
    for batch in batches:
        for text in batch:
            known.add(text)
        yield batch


def without(batches: Batches, seen: Iterable[int]) -> Batches:
    """Yield the batches without documents whose keys are in ``seen``; ``seen`` may be filled until the first batch
    is read."""
    known = frozenset(seen)
    for batch in batches:
        yield [text for text in batch if key(text) not in known]


def only(batches: Batches, wanted: frozenset[int]) -> list[str]:
    """Return the documents with these keys in the order of the keys, each document once."""
    found = {key(text): text for batch in batches for text in batch if key(text) in wanted}
    return [found[each] for each in sorted(found)]
