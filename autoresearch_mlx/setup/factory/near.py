"""Find posts that are nearly equal, by MinHash.

A post is represented by the set of all its sequences of three words.  For each of many hash functions, the smallest
hash of the set is computed (a minimum).  The share of equal minima of two posts estimates the Jaccard similarity of
their sets (Broder, "On the resemblance and containment of documents", 1997).  The minima are divided into bands, and
only posts with an equal band are compared (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Minima = npt.NDArray[np.uint32]

WORDS = 3
"""Number of words in each sequence that is compared."""
SIMILAR = 0.5
"""Smallest similarity (share of equal minima) at which two posts are nearly equal."""
_BANDS, _ROWS = 20, 3
"""Number of bands, and number of minima in each band.  Two posts of similarity 0.7 have an equal band in 999 of 1000
cases; of similarity 0.5, in 93 of 100; of similarity 0.1, in 2 of 100."""
_WORD = re.compile(r"[^\W_]+")


def normal(text: str) -> str:
    """Return the words of a text, joined by single spaces.

    Texts that differ only in case, punctuation, layout or letter form (Unicode's NFKC) become equal.
    """
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def minima(text: str) -> Minima:
    """Return the minima of a normalised text, one for each hash function."""
    words = text.split()
    runs = {" ".join(words[at : at + WORDS]) for at in range(max(1, len(words) - WORDS + 1))}
    hashes = np.array([int.from_bytes(blake2b(run.encode(), digest_size=8).digest()) for run in runs], np.uint64)
    factors, offsets = _functions()
    # Multiply, add, shift, modulo 2**64 (Dietzfelbinger and others, J. Algorithms 25, 1997); the overflow is intended.
    found: Minima = ((factors * hashes + offsets) >> np.uint64(32)).min(axis=1).astype(np.uint32)
    return found


@cache
def _functions() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return the odd factors and the offsets of the hash functions, as two columns."""
    drawn = np.random.default_rng(0).integers(0, 2**64, (2, _BANDS * _ROWS, 1), np.uint64)
    return drawn[0] | np.uint64(1), drawn[1]


class Near:
    """Stores the minima of posts, and finds an earlier post that is nearly equal to a new post."""

    def __init__(self) -> None:
        self._minima: list[Minima] = []
        self._first: dict[int, int] = {}
        """Number of the first post with a band of minima, by the hash of that band.  Lists of all posts with the band
        would need several times the memory."""

    def find(self, own: Minima) -> int | None:
        """Return the number (from 0) of an earlier post that is nearly equal to the post with the minima ``own``.

        Returns None if there is no such post.
        """
        for at in sorted({self._first[key] for key in _keys(own) if key in self._first}):
            if float((self._minima[at] == own).mean()) >= SIMILAR:
                return at
        return None

    def add(self, own: Minima) -> None:
        """Store the minima of a post; posts are numbered in the order in which they are added."""
        for key in _keys(own):
            self._first.setdefault(key, len(self._minima))
        self._minima.append(own)


def _keys(own: Minima) -> list[int]:
    return [hash((band, own[band * _ROWS : (band + 1) * _ROWS].tobytes())) for band in range(_BANDS)]
