"""Remove the names of people, machines and folders from a text before it is published."""

from __future__ import annotations

import builtins
import getpass
import keyword
import os
import platform
import pwd
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.store.git import git

_PATH = re.compile(
    r"""(?:(?<![\w./<])~|(?<![\w./<])[A-Za-z]:(?=[\\/])|(?<![\w.<]))[\\/](?:[^\s'"<>:,;|()\\/]+[\\/])+"""
)
"""Pattern that matches all folders of an absolute path, but not the last name in the path."""
_EMAIL = re.compile(r"[\w.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_LOCAL = re.compile(r"\b[\w-]+\.(?:local|lan|home|internal|fritz\.box)\b", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])|(?<![\w:])(?:[0-9a-fA-F]{1,4}:){4,7}[0-9a-fA-F]{1,4}(?![\w:])"
)
_OF_MANY = frozenset(
    {"localhost", "root", "user", "users", "admin", "test", "guest", "home", "main", "data", "build", "runner", "train"}
)
"""Common names of users and machines, which are also common words in source code."""
_LEAST = 3


def without_folders(text: str) -> str:
    """Return the text without the folders of absolute paths, as in ``[path]/python bench.py``."""
    return _PATH.sub("[path]/", text)


@dataclass(frozen=True)
class Personal:
    """The names of this user and this machine."""

    users: frozenset[str]
    hosts: frozenset[str]

    def cleaned(self, text: str) -> str:
        """Return the text with placeholders for names, addresses and the folders of absolute paths."""
        text = without_folders(text)
        text = _LOCAL.sub("[host]", _EMAIL.sub("[address]", _ADDRESS.sub("[address]", text)))
        text = self._hosts.sub("[host]", text) if self._hosts else text
        return self._users.sub("[user]", text) if self._users else text

    def named_in(self, text: str) -> str:
        """Return a description of the personal information in a file, or an empty string if there is none.

        Personal information cannot be removed from a file, because the published file would then differ from the
        measured file.
        """
        if _HOME.search(text) is not None:
            return "a path in a home folder"
        if _REAL_EMAIL.search(text) is not None:
            return "an e-mail address"
        for pattern, whose in ((self._hosts, "this machine"), (self._users, "this person")):
            if any(_rare(found.group()) for found in (pattern.finditer(text) if pattern else ())):
                return f"a name of {whose}"
        return ""

    @cached_property
    def _users(self) -> re.Pattern[str] | None:
        return _words(self.users)

    @cached_property
    def _hosts(self) -> re.Pattern[str] | None:
        return _words(self.hosts)


_HOME = re.compile(r"/(?:Users|home)/(?!(?:shared|Shared)\b)[A-Za-z0-9._-]+")
_REAL_EMAIL = re.compile(r"\b[\w.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+\b")


def _rare(word: str) -> bool:
    """Return whether a word is a name of a person or machine rather than a common word in source code."""
    plain = word.casefold()
    return (
        len(plain) > _LEAST and plain not in _OF_MANY and not keyword.iskeyword(plain) and not hasattr(builtins, plain)
    )


def _words(names: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE) if names else None


def personal_here(root: Path) -> Personal:
    """Return the names of the user and of the machine, as the system and git know them."""
    hosts = {name for host in (platform.node(), os.environ.get("HOSTNAME", "")) for name in (host, host.split(".")[0])}
    return Personal(frozenset(_usable(_users(root))), frozenset(_usable(hosts) - {"localhost"}))


def _usable(names: Iterable[str]) -> set[str]:
    return {name.strip() for name in names if len(name.strip()) >= _LEAST}


def _users(root: Path) -> Iterator[str]:
    with suppress(OSError, KeyError):  # a container may have a user without a name
        yield getpass.getuser()
    with suppress(KeyError):
        entry = pwd.getpwuid(os.getuid())
        yield entry.pw_name
        yield from _full(entry.pw_gecos.split(",")[0])
    yield from (os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER"))
    for setting in ("user.name", "user.email"):
        with suppress(WorkspaceError):
            value = git(root, "config", "--default", "", setting).strip()
            yield from _full(value) if setting == "user.name" else (value, value.split("@")[0])


def _full(name: str) -> Iterator[str]:
    """Yield a full name and its parts, without words such as ``User``."""
    yield name
    yield from (part for part in name.split() if part.casefold() not in _OF_MANY)
