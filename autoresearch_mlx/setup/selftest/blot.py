"""Remove from a text the names, serial numbers, addresses and paths that identify a person or a machine.

The text is meant for a public issue.  In doubtful cases, the rules remove a word.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_COMMON = frozenset({
    "admin", "administrator", "apple", "arm64", "build", "computer", "debian", "default", "desktop", "docker",
    "guest", "home", "host", "imac", "intel", "laptop", "linux", "local", "localdomain", "localhost", "lan", "mac",
    "macbook", "macbookair", "macbookpro", "macmini", "macos", "macstudio", "machine", "me", "metal", "mini",
    "mobile", "name", "none", "power", "pro", "root", "runner", "server", "studio", "system", "test", "ubuntu",
    "user", "users", "work",
})  # fmt: skip
"""Common names: they identify nobody, and the report needs such words."""
_SHORT = 4
"""A name with fewer letters is removed only where it is a whole word; a longer name is removed inside words too."""
_SYSTEM = (
    "/usr/",
    "/bin/",
    "/sbin/",
    "/System/",
    "/Library/Apple/",
    "/dev/",
    "/proc/",
    "/sys/",
    "/etc/",
    "/opt/homebrew/",
)
"""Beginnings of paths that are the same on all machines of one kind."""
_SECONDS = 3.0

_NAMED = r"serial|uuid|udid|guid|asset.?tag|mac.?address|manufacturer ?data|device ?name|computer ?name"
_KEY = rf"[\w .()#-]*(?:{_NAMED})[\w .()#-]*"
_HEX = "[0-9A-Fa-f]{1,4}"
_OF_MACOS = (
    "caffeinate|powerd|coreaudiod|apsd|sharingd|runningboardd|bluetoothd|mds|mds_stores|WindowServer|useractivityd"
)
_RULES = (
    # "BatterySerialNumber" = "D86..."   Serial Number (system): C02...   "_name" stays, because it names a chip
    (re.compile(rf'("?{_KEY}"?\s*[=:]\s*)("[^"\n]*"|<[^>\n]*>|[^\s,}}]+)', re.IGNORECASE), r"\1(serial)"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "(address)"),
    (re.compile(r"\b[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\b"), "(serial)"),
    (re.compile(r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b"), "(serial)"),
    (re.compile(r"\b(?!127\.0\.0\.1\b)(?!0\.0\.0\.0\b)(?:\d{1,3}\.){3}\d{1,3}\b"), "(address)"),
    (
        re.compile(rf"(?<![\w:])(?:(?:{_HEX}:){{1,6}}(?::{_HEX}){{1,6}}|(?:{_HEX}:){{7}}{_HEX}|::{_HEX})(?:%\w+)?"),
        "(address)",
    ),
    (re.compile(r"\b(id=)\d{6,}"), r"\1(serial)"),
    (re.compile(r"\b(?=[A-Z0-9]*\d)(?=[A-Z0-9]*[A-Z])[A-Z0-9]{8,}\b"), "(serial)"),
    (re.compile(r"<[0-9a-fA-F ]{16,}>"), "<(serial)>"),
    (re.compile(r'\b(named: )"[^"\n]*"(?<!display is on")(?<!command-line tool")'), r'\1"(name)"'),
    (re.compile(rf"(\bpid \d+)\((?!(?:{_OF_MACOS})\))[^)\n]*\)"), r"\1(name)"),
    (re.compile(r"(\bDescription: |\bLocalized=)[^\n]*"), r"\1(name)"),
    (re.compile(r"(on behalf of )'[^'\n]*'"), r"\1'(name)'"),
)
"""Patterns and their replacements, applied in this order."""


@dataclass(frozen=True, slots=True)
class Blot:
    """A function that removes from a text the names and paths that identify this person and this machine."""

    names: tuple[str, ...] = ()
    """Names of the person and of the machine, and the machine's serial numbers, in any order."""
    paths: tuple[str, ...] = ()
    """Folders whose paths are removed as a whole, even if they contain spaces."""

    def __call__(self, text: str) -> str:
        """Return the text without names, serial numbers, addresses and paths."""
        for path in sorted({p for p in self.paths if len(p) > 1}, key=len, reverse=True):
            text = re.sub(rf"{re.escape(path)}(?:/[^\s'\"`,;:)\]]*)?(?![\w.-])", "(path)", text)
        text = re.sub(r"(['\"`])(/[^'\"`\n]+)\1", lambda m: m[0] if _is_system(m[2]) else f"{m[1]}(path){m[1]}", text)
        text = re.sub(
            r"(?<![\w.:/)-])~?/[\w.~][^\s'\"`<>|,;:()\[\]{}=]*", lambda m: m[0] if _is_system(m[0]) else "(path)", text
        )
        for pattern, instead in _RULES:
            text = pattern.sub(instead, text)
        for name in sorted(self._known(), key=len, reverse=True):
            text = _pattern(name).sub("(name)", text)
        return text

    def _known(self) -> set[str]:
        """Return the words of all identifying names, in lower case; words that identify nobody are left out."""
        found: set[str] = set()
        for name in self.names:
            words = {word for word in re.split(r"[^\w]+|_", name) if len(word) > 2}
            words |= {word[:-1] for word in words if word.lower().endswith("s") and len(word) > _SHORT}
            if not all(word.lower() in _COMMON or word.isdigit() for word in words or {name}):
                found |= {each.strip().lower() for each in (name, name.partition(".")[0], *words)}
        return {word for word in found if len(word) > 1 and word not in _COMMON and not word.isdigit()}


def _pattern(name: str) -> re.Pattern[str]:
    """Return a pattern that finds a name.

    The pattern of a long name covers the whole word that contains the name, because the rest of the word could reveal
    the name.
    """
    if len(name) < _SHORT:
        return re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", re.IGNORECASE)
    return re.compile(rf"[\w'’-]*{re.escape(name)}[\w'’-]*", re.IGNORECASE)


def _is_system(path: str) -> bool:
    return path.startswith(_SYSTEM) and ".." not in path


def blot_of(start: Path) -> Blot:
    """Return the :class:`Blot` for this person and this machine.

    ``start`` is the directory in which the user gave the command.
    """
    names = [*_of_person(), *_of_machine(), *_of_git(start)]
    folders = [Path.home(), start, Path(tempfile.gettempdir()), Path(sys.prefix), Path(sys.base_prefix)]
    folders += [Path(__file__).parents[3], Path(os.environ.get("AUTORESEARCH_CACHE") or Path.home())]
    known = {str(each) for folder in folders for each in (folder, folder.resolve())}
    return Blot(tuple(name for name in names if name), tuple(p for p in known if not _is_system(f"{p}/")))


def _of_person() -> Iterator[str]:
    yield from (os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER"))
    yield Path.home().name
    with suppress(OSError, KeyError, ImportError):
        import pwd

        found = pwd.getpwuid(os.getuid())
        yield from (found.pw_name, found.pw_gecos.split(",")[0])
    with suppress(OSError, KeyError, ImportError):
        yield getpass.getuser()


def _of_machine() -> Iterator[str]:
    yield from (socket.gethostname(), os.environ.get("HOSTNAME", ""))
    with suppress(OSError):
        yield Path("/etc/machine-id").read_text().strip()
    if sys.platform == "darwin":
        yield from (_said("scutil", "--get", name) for name in ("ComputerName", "LocalHostName", "HostName"))
        board = _said("ioreg", "-rd1", "-c", "IOPlatformExpertDevice")
        yield from re.findall(r'"IOPlatform(?:SerialNumber|UUID)"\s*=\s*"([^"]+)"', board)


def _of_git(start: Path) -> Iterator[str]:
    yield from (_said("git", "-C", str(start), "config", "--get", f"user.{name}") for name in ("name", "email"))
    yield from (
        os.environ.get(f"GIT_{who}_{what}", "") for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    )


def _said(*command: str) -> str:
    """Return the output of a command; an empty string if the command fails or is slow."""
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_SECONDS
        )
        return done.stdout.strip() if done.returncode == 0 else ""
    return ""
