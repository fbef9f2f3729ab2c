"""Keep a lab's public identity, and the record of the results that the lab sent and received.

The folder is ``.autoresearch/.share``:

    identity.json   the lab's random public name, and a random salt for the public names of sessions and machines
    pool.git        a separate bare repository, so that no stranger's object enters the user's repository
    journal.jsonl   what was pushed and what was pulled
"""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import LabError, LockedError
from autoresearch_mlx.lab.lab import write_whole
from autoresearch_mlx.share.result import Result, result_from
from autoresearch_mlx.store.git import git
from autoresearch_mlx.store.journal import Event, read_events, stamp, writing
from autoresearch_mlx.store.locks import take_lock

FOLDER = ".share"
"""Name of the folder in ``.autoresearch``.  No session can have a folder of that name, because a tag never begins with
a dot."""
_LOCK_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Pulled:
    """One result of another lab, as this lab received it."""

    number: int
    """The result's number in this lab, as in ``share REMOTE adopt N``."""
    remote: str
    """Short hash of the remote's address."""
    ref: str
    commit: str
    time: str
    """Local time of the pull."""
    result: Result


@dataclass(frozen=True, slots=True)
class Place:
    """A lab's folder for its exchange with other labs."""

    folder: Path
    lab: str
    """Public name of this lab: ten random hexadecimal digits."""
    salt: str

    @property
    def pool(self) -> Path:
        """The bare repository with the objects that are sent and received."""
        return self.folder / "pool.git"

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def git_reading(self, data: bytes, *arguments: str) -> bytes:
        """Run a git command in the pool with ``data`` as its standard input; return its output.

        Raises LabError with git's message.
        """
        done = subprocess.run(["git", "-C", str(self.pool), *arguments], input=data, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[:200]
            kept = f"free some space, or remove {self.pool}; journal.jsonl keeps all received results"
            raise LabError(f"git {arguments[0]}: {said}", kept)
        return done.stdout

    def session_id(self, tag: str) -> str:
        """Return the public name of a session.  The tag is not published, because it may reveal something about the
        lab's owner."""
        return self._named("session", tag)

    def machine_id(self, machine: Mapping[str, Any]) -> str:
        """Return the public name of a machine, made from the machine's description in the measurements."""
        facts = (machine.get(name) for name in ("chip", "gpu", "gpu_cores", "memory_gb"))
        return self._named("machine", json.dumps([str(fact) for fact in facts]))

    def _named(self, *parts: str) -> str:
        return hashlib.sha256("\0".join((self.salt, *parts)).encode()).hexdigest()[:8]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the exchange for this process.

        Raises LockedError if another process holds the lock for two minutes.
        """
        with (self.folder / "lock").open("a") as file:
            if not take_lock(file, _LOCK_SECONDS):
                raise LockedError("another process of this lab is exchanging results", "try again later")
            yield

    def events(self) -> tuple[Event, ...]:
        """Return the journal's events, oldest first.  Raises LedgerError."""
        return read_events(self.journal).events

    def pulled(self) -> tuple[Pulled, ...]:
        """Return the results of other labs, sorted by number.  Raises LedgerError."""
        return pulled_here(self.folder.parent)

    def pushed(self, remote: str) -> frozenset[str]:
        """Return the names of the results that this lab has published on a remote.  Raises LedgerError."""
        sent = (e for e in self.events() if e["event"] == "pushed" and e.get("remote") == remote)
        return frozenset(name for event in sent for name in event.get("names") or () if isinstance(name, str))

    def note(self, kind: str, **fields: Any) -> None:
        """Add an event to the journal.  Raises LedgerError."""
        with writing(self.journal) as journal:
            journal.append(kind, **fields)


def place_of(state: Path) -> Place:
    """Return the lab's folder for the exchange and create it at the first call; ``state`` is ``.autoresearch``.

    Raises LabError if the file with the lab's identity is damaged, and OSError if the folder cannot be created.
    """
    folder = state / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    identity = folder / "identity.json"
    if not identity.exists():
        made = {"lab": secrets.token_hex(5), "salt": secrets.token_hex(16)}
        write_whole(identity, json.dumps(made) + "\n")
    try:
        read = json.loads(identity.read_bytes())
        place = Place(folder, str(read["lab"]), str(read["salt"]))
    except (ValueError, KeyError, TypeError):
        hint = "restore the file from a backup, or remove it; without the file, the lab publishes under a new name"
        raise LabError(f"{identity} is damaged", hint) from None
    if not (place.pool / "HEAD").exists():
        git(folder, "init", "--quiet", "--bare", place.pool.name)
    return place


def pulled_here(state: Path) -> tuple[Pulled, ...]:
    """Return the results that this lab has received from other labs, without creating the folder.  Raises
    LedgerError."""
    journal = state / FOLDER / "journal.jsonl"
    return _received(journal, stamp(journal))


@lru_cache(maxsize=1)  # each proposal calls this, and the journal may have thousands of lines
def _received(journal: Path, version: tuple[int, int] | None) -> tuple[Pulled, ...]:
    """Return the results in a journal.

    The returned tuple is cached for each ``version``, which changes whenever the journal is written.
    """
    return tuple(one for event in read_events(journal).events if (one := _pulled(event)) is not None)


def _pulled(event: Event) -> Pulled | None:
    if event["event"] != "pulled" or type(number := event.get("number")) is not int:
        return None
    result = result_from(event.get("result"))
    if not isinstance(result, Result):
        return None  # a later version of this program may have written the line
    remote, ref, commit, time = (str(event.get(name, "")) for name in ("remote", "ref", "commit", "time"))
    return Pulled(number, remote, ref, commit, time, result)
