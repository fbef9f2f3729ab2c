"""Read the status of a row in somebody's table: the word before a remark, as in ``keep (reworked)``, ``CRASH: OOM``."""

from __future__ import annotations

import re
from collections.abc import Mapping

_BASELINES = ("baseline", "new_baseline", "re_baseline", "rebaseline")
_STATUSES: Mapping[str, tuple[str, ...]] = {
    "keep": ("keep", "kept", *_BASELINES, "accept", "accepted", "improved", "best", "new_best", "success"),
    "discard": ("discard", "discarded", "reject", "rejected", "revert", "reverted", "worse", "no_improvement"),
    "crash": (
        *("crash", "crashed", "oom", "fail", "failed", "error", "nan", "timeout", "timed_out", "invalid"),
        *("metric_error", "checks_failed", "check_failed", "guard_failed"),
    ),
    "interrupted": ("interrupted",),
    "duplicate": ("duplicate",),
    "conflict": ("conflict",),
    "limit": ("limit",),
}
KNOWN = tuple(words[0] for words in _STATUSES.values())
"""The usual word for each status, as messages show it."""
_REMARK = re.compile(r"\s*(?:[(\[{:;,]|\s[-–—]+\s|\s->|→).*$", re.DOTALL)
_TAKEN_BACK = re.compile(r"\b(?:revert|discard|reject|undo|undone|rolled back|not kept|crash|fail)", re.IGNORECASE)


def status_in(cell: str) -> str | None:
    """Return the status that a cell names, or None if it names no known status, or two statuses that contradict each
    other."""
    head = _REMARK.sub("", cell)
    word = re.sub(r"[^a-z]+", "_", head.lower()).strip("_")
    found = next((status for status, words in _STATUSES.items() if word in words), None)
    # "keep (later reverted)" names two statuses.
    return None if found == "keep" and _TAKEN_BACK.search(cell[len(head) :]) else found


def says_baseline(cell: str) -> bool:
    """Return whether the status of a row calls the row a baseline."""
    return re.sub(r"[^a-z]+", "_", _REMARK.sub("", cell).lower()).strip("_") in _BASELINES
