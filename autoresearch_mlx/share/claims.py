"""Claim an edit before it is measured, so that two labs do not measure the same edit in one night.

    refs/autoresearch/claims/<question>/<hypothesis>

A claim is a ref.  A lab makes a claim with a push that succeeds only if the ref does not exist yet.  Git checks and
writes in one step, so exactly one of several labs gets the claim.  A claim ends after the time that its author states.
After that time another lab may replace the claim, with a push that succeeds only while the ref still holds the old
claim.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.share.place import Place
from autoresearch_mlx.share.remote import Push, Remote, RemoteAway, mark_of
from autoresearch_mlx.store.git import git

REFS = "refs/autoresearch/claims"
FILE = "claim.json"
_SCHEMA, _KIND = 1, "claim"
_MOST_BYTES = 4096
LEAST_SECONDS, MOST_SECONDS = 600.0, 12 * 3600.0
"""Shortest and longest duration of a claim in seconds.  Even the shortest duration leaves other labs time to pull the
result."""
_CREATED = {
    **{f"GIT_{who}_NAME": "autoresearch-mlx" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "autoresearch-mlx@localhost" for who in ("AUTHOR", "COMMITTER")},
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim as read from the remote."""

    lab: str
    machine: str
    begun: float
    """Start of the claim in seconds since 1970, by its author's clock."""
    seconds: float


@dataclass(slots=True)
class Claims:
    """The claims of one run on one remote."""

    place: Place
    remote: Remote
    machine: str
    seen: dict[str, float] = field(default_factory=dict)
    """Commit of a claim -> time when this machine first saw it, in seconds since 1970."""
    held: dict[str, tuple[str, float]] = field(default_factory=dict)
    """The current claims of this lab: ref -> (commit, end of the claim in seconds since 1970)."""

    def __post_init__(self) -> None:
        """Read from the journal the claims that earlier runs of this lab have left on the remote."""
        for event in self.place.events():
            ref, commit, ends = (event.get(name) for name in ("ref", "commit", "ends"))
            if event.get("address") != mark_of(self.remote) or not isinstance(ref, str):
                continue
            if event["event"] == "claimed" and isinstance(commit, str) and isinstance(ends, int | float):
                self.held[ref] = (commit, ends)
            elif event["event"] == "unclaimed":
                self.held.pop(ref, None)

    def take(self, question: str, hypothesis: str, seconds: float) -> str | None:
        """Claim an edit.  Return None on success, or a sentence that says which lab has claimed the edit.  Raises
        RemoteAway."""
        ref = f"{REFS}/{question}/{hypothesis}"
        seconds = min(max(seconds, LEAST_SECONDS), MOST_SECONDS)
        now = time.time()
        if ref in self.held and self.held[ref][1] > now:
            return None
        commit = self._commit({"question": question, "hypothesis": hypothesis, "begun": int(now), "seconds": seconds})
        there = None
        for _ in range(2):
            if self.remote.push([Push(ref, commit, there)])[ref]:
                self.held[ref] = (commit, now + seconds)
                self.place.note("claimed", address=mark_of(self.remote), ref=ref, commit=commit, ends=now + seconds)
                return None
            if (found := self.remote.refs(ref).get(ref)) is None:
                there = None  # the claim's owner has just removed it
                continue
            if (words := self._taken(ref, found, now)) is not None:
                return words
            there = found  # the claim has ended, or is ours from an earlier run
        return "another lab has just claimed the edit"

    def _taken(self, ref: str, commit: str, now: float) -> str | None:
        """Return a sentence that says when another lab's claim ends, or None if the claim is over, unreadable or our
        own."""
        claim = self._read(ref, commit)
        if claim is None or claim.lab == self.place.lab:
            return None
        # The author's clock may be ahead, so a claim starts no later than when this machine first saw it.
        begun = min(claim.begun, self.seen.setdefault(commit, now))
        left = begun + claim.seconds - now
        if left <= 0:
            return None
        return f"lab {claim.lab} has claimed the edit and measures it; the claim ends in {math.ceil(left / 60)} minutes"

    def expire(self) -> None:
        """Remove this lab's ended claims from the remote.  Raises RemoteAway."""
        over = {ref: commit for ref, (commit, end) in self.held.items() if end <= time.time()}
        if over:
            self.remote.push([Push(ref, "", commit) for ref, commit in over.items()])
        for ref in over:  # a claim that the push did not remove is gone already, or another lab replaced it
            del self.held[ref]
            self.place.note("unclaimed", address=mark_of(self.remote), ref=ref)

    def _commit(self, about: dict[str, Any]) -> str:
        fields = {"schema": _SCHEMA, "kind": _KIND, "lab": self.place.lab, "machine": self.machine, **about}
        pool, text = self.place.pool, json.dumps(fields, indent=1) + "\n"
        blob = self.place.git_reading(text.encode(), "hash-object", "-w", "--stdin").strip()
        tree = self.place.git_reading(b"100644 blob " + blob + f"\t{FILE}\n".encode(), "mktree").decode().strip()
        when = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"{about['begun']} +0000")
        return git(pool, "commit-tree", tree, "-m", "claim", env={**_CREATED, **when}).strip()

    def _read(self, ref: str, commit: str) -> Claim | None:
        """Fetch and return the claim at a ref, or return None if there is no readable claim."""
        if self.remote.fetch({ref: commit}):
            return None
        try:
            size = int(git(self.place.pool, "cat-file", "-s", f"{commit}:{FILE}"))
            text = git(self.place.pool, "cat-file", "blob", f"{commit}:{FILE}") if size <= _MOST_BYTES else ""
            found = json.loads(text)
        except RemoteAway:
            raise
        except (LabError, ValueError, RecursionError):
            return None
        return _claim(found)


def _claim(found: Any) -> Claim | None:
    if not isinstance(found, dict) or found.get("kind") != _KIND:
        return None
    lab, machine, begun, seconds = (found.get(name) for name in ("lab", "machine", "begun", "seconds"))
    named = all(
        isinstance(name, str) and len(name) <= 10 and name.isalnum() and name.isascii() for name in (lab, machine)
    )
    timed = all(type(number) in (int, float) and 0 <= number <= 1e11 for number in (begun, seconds))  # type: ignore[operator]
    if not named or not timed:
        return None
    return Claim(str(lab), str(machine), float(begun), min(float(seconds), MOST_SECONDS))  # type: ignore[arg-type]
