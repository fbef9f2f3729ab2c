"""Find near copies of documents by sketches of their text.

A sketch is a sample of hashes.  To make a sketch, layout and case are removed from the text, and each window of 48
bytes is hashed.  The sketch keeps the hashes that are divisible by 16.  Equal passages have equal samples wherever the
passages occur, so a copy is found even if it was cut, indented or extended.

Source: Broder, "On the resemblance and containment of documents", 1997.  A sample by modulus preserves containment;
MinHash does not preserve containment.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

WINDOW = 48
"""Length of a window in bytes, about ten words.  Two different texts rarely share ten words in a row by chance."""
SHARE = 0.5
"""A document is a near copy if at least this share of its sampled windows also occurs in other documents."""
_ONE_IN = np.uint64(16)
_FACTOR = 0x9E3779B97F4A7C15
_BLANKS = b" \t\r\n\f\v"
_LOWER = bytes(range(256)).lower()


def sketch(text: str) -> Hashes:
    """Return the sketch of a text: the sampled hashes, sorted and without duplicates; empty for a short text."""
    data = np.frombuffer(text.encode("utf-8").translate(_LOWER, _BLANKS), np.uint8).astype(np.uint64)
    if len(data) < WINDOW:
        return np.empty(0, np.uint64)
    hashes = np.zeros(len(data) - WINDOW + 1, np.uint64)
    mixed = data * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(1)
    # Hash windows by doubling: the hash of 16 bytes is made from the hashes of its two halves, and so on, modulo 2**64.
    power, length = _FACTOR, 1
    part = mixed
    while length < 16:
        part = part[:-length] * np.uint64(power) + part[length:]
        power, length = power * power % 2**64, 2 * length
    for start in range(0, WINDOW, 16):
        hashes = hashes * np.uint64(power) + part[start : start + len(hashes)]
    hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> np.uint64(32)
    return np.unique(hashes[hashes % _ONE_IN == 0])


class Known:
    """The windows of the known documents.  A document that is added becomes known at the next call of ``settle``."""

    def __init__(self) -> None:
        self._sketches: list[Hashes] = []
        self._hashes: Hashes = np.empty(0, np.uint64)
        self._owners: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._sizes: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def add(self, text: str) -> None:
        """Add a document, which the next call of ``settle`` makes known."""
        self._sketches.append(sketch(text))

    def near(self, text: str) -> bool:
        """Return whether a text is nearly contained in the known documents, or nearly contains one of them."""
        own = sketch(text)
        if not len(own) or not len(self._hashes):
            return False
        first = np.searchsorted(self._hashes, own, "left")
        last = np.searchsorted(self._hashes, own, "right")
        if (last > first).sum() >= SHARE * len(own):
            return True
        hits = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True) if b > a] or [first[:0]])
        found = np.bincount(self._owners[hits], minlength=len(self._sizes))
        return bool(((found >= SHARE * self._sizes) & (found > 0)).any())

    def settle(self) -> None:
        """Make all added documents known."""
        if not self._sketches:
            return
        self._sizes = np.array([len(each) for each in self._sketches], np.int64)
        hashes = np.concatenate(self._sketches)
        owners = np.repeat(np.arange(len(self._sizes)), self._sizes)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._owners = hashes[order], owners[order]


def copied(documents: list[str], others: Iterable[list[str]]) -> list[bool]:
    """Return for each document whether at least half of its text also occurs in ``others`` or in another document."""
    sketches = [sketch(text) for text in documents]
    everything = np.concatenate([*sketches, np.empty(0, np.uint64)])
    windows, times = np.unique(everything, return_counts=True)
    elsewhere = times > 1
    for batch in others:
        found = np.concatenate([*(sketch(text) for text in batch), np.empty(0, np.uint64)])
        at = np.searchsorted(windows, found)
        inside = at < len(windows)
        at, found = at[inside], found[inside]
        elsewhere[at[windows[at] == found]] = True
    return [bool(len(each)) and bool(elsewhere[np.searchsorted(windows, each)].mean() >= SHARE) for each in sketches]
