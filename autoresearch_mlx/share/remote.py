"""Talk to a git remote within limits: list refs, fetch small objects, push refs.

A remote may be unreachable, slow, full or hostile.  Each call has a time limit.  The operating system limits the size
of the files that git writes. Each failure raises RemoteAway with git's message.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from autoresearch_mlx.errors import ConfigError, LabError, WorkspaceError
from autoresearch_mlx.store.git import git
from autoresearch_mlx.terms import cut, one_line
from autoresearch_mlx.trial.runner import GIT_PLACES

_LIST_BYTES = 16 * 2**20
_BATCH, _BATCH_BYTES, _ONE_BYTES = 100, 8 * 2**20, 2**20
"""Limits of one fetch: the number of refs, the bytes, and the bytes if a ref is fetched alone."""
_BOUNDED = (
    "fetch.unpackLimit=1",  # git writes one pack, whose size the system limits, and not many files
    "core.bigFileThreshold=1m",  # git reads large files as a stream, because a small pack may hold gigabytes
    "transfer.fsckObjects=true",
    "fetch.recurseSubmodules=no",
    "gc.auto=0",
    "maintenance.auto=false",
    "core.hooksPath=/dev/null",
    "core.quotePath=off",
    "push.gpgSign=false",
    "push.followTags=false",
)
_CARRIED_SETTINGS = r"^(core\.sshcommand|ssh\..*|credential\..*|http\..*|url\..*)$"
"""Settings that git needs to reach a remote; they are copied from the user's repository to the pool."""
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")


class RemoteAway(LabError):
    """Raised when the remote does not do what was asked; the message includes git's message."""


class TooLarge(RemoteAway):
    """Raised when the remote sends more bytes than are accepted."""


@dataclass(frozen=True, slots=True)
class Push:
    """One ref to push.  The remote's ref must be at the commit ``expected``; None means that the ref must not exist."""

    ref: str
    commit: str
    """The new commit; an empty string removes the ref."""
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class Remote:
    """A git remote, reached from the bare repository ``pool``."""

    address: str
    pool: Path
    seconds: float = 120.0
    """Time limit for one call of git."""
    asks: bool = True
    """Whether git and ssh may ask the user at the terminal for a password."""
    settings: tuple[tuple[str, str], ...] = ()
    """Settings of the user's repository, as names and values."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """The remote's address without user name and password."""
        return cut(one_line(_USERINFO.sub("", self.address)), 80)

    def refs(self, pattern: str) -> dict[str, str]:
        """Return {ref: commit} for the refs that match a pattern.  Raises RemoteAway."""
        listed = self._git("ls-remote", "--refs", "--", self.address, pattern, most=_LIST_BYTES)
        pairs = (line.split("\t") for line in listed.splitlines())
        return {pair[1]: pair[0] for pair in pairs if len(pair) == 2 and _HEX.fullmatch(pair[0])}

    def fetch(self, refs: Mapping[str, str]) -> dict[str, str]:
        """Fetch the commits of ``refs`` (ref -> commit) into the pool; return {failed ref: reason}.

        A batch that fails is halved until the damaged or oversized object is found, so that all other commits arrive.
        Raises RemoteAway if the remote itself does not answer.
        """
        failed: dict[str, str] = {}
        names = list(refs)
        for start in range(0, len(names), _BATCH):
            self._fetch(names[start : start + _BATCH], refs, failed)
        return failed

    def _fetch(self, names: Sequence[str], refs: Mapping[str, str], failed: dict[str, str]) -> None:
        most = _BATCH_BYTES if len(names) > 1 else _ONE_BYTES
        specs = [f"+{name}:refs/pulled/{refs[name]}" for name in names]
        words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--refmap=")
        try:
            self._git(*words, "--", self.address, *specs, most=most)
        except RemoteAway as error:
            if len(names) == 1:
                self.refs(names[0])  # raises RemoteAway if the remote itself fails
                large = f"it is larger than {most:,} bytes" if isinstance(error, TooLarge) else ""
                failed[names[0]] = large or f"git refused it: {error}"
                return
            half = len(names) // 2
            self._fetch(names[:half], refs, failed)
            self._fetch(names[half:], refs, failed)

    def push(self, pushes: Sequence[Push]) -> dict[str, bool]:
        """Push each ref for which the remote has the expected commit; return {ref: whether the remote accepted it}.

        The remote checks and writes in one step: if several labs push the same new ref, exactly one succeeds.  Raises
        RemoteAway if nothing was pushed at all.
        """
        leases = [f"--force-with-lease={push.ref}:{push.expected or ''}" for push in pushes]
        specs = [f"{push.commit}:{push.ref}" for push in pushes]
        words = ("push", "--porcelain", "--no-verify", "--no-follow-tags", "--no-signed")
        said = self._git(*words, *leases, "--", self.address, *specs, most=_BATCH_BYTES, refusable=True)
        rows = [line.split("\t") for line in said.splitlines()]
        flags = {row[1].partition(":")[2]: row[0] for row in rows if len(row) == 3}
        if not flags.keys() & {push.ref for push in pushes}:
            raise RemoteAway(f"{self.said}: git pushed nothing", "try again later")
        return {push.ref: flags.get(push.ref, "!").strip() != "!" for push in pushes}

    def _git(self, *arguments: str, most: int, refusable: bool = False) -> str:
        """Run git in the pool and return git's output; git may not write a file of more than ``most`` bytes.

        With ``refusable`` the output is returned even if git reports a failure.  Raises RemoteAway.
        """
        settings = [word for setting in _BOUNDED for word in ("-c", setting)]
        blocks = most // 512  # the unit of `ulimit -f` in POSIX shells
        command = ["sh", "-c", f'ulimit -f {blocks} && exec "$@"', "sh", "git", "-C", str(self.pool), *settings]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as trouble:
            with subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=trouble,
                env=self._environment(),
                start_new_session=not self.asks,
            ) as process:
                try:
                    status = process.wait(self.seconds)
                except BaseException as error:
                    self._end(process)
                    if not isinstance(error, subprocess.TimeoutExpired):
                        raise
                    said = f"{self.said} did not answer within {self.seconds:.0f} s"
                    raise RemoteAway(said, "`git ls-remote` shows whether it is reachable") from None
            text, words = (_read(file) for file in (out, trouble))
        if status == 0 or (refusable and text.strip()):
            return text
        if status in (-signal.SIGXFSZ, 128 + signal.SIGXFSZ) or _cut_off(words):
            raise TooLarge(f"{self.said} sent more than {most:,} bytes", "nothing of this data was read")
        last = next((line for line in words.splitlines() if line.startswith(("fatal:", "error:"))), words)
        reason = one_line(_USERINFO.sub("", last.replace(self.address, self.said))) or f"exit code {status}"
        raise RemoteAway(f"{self.said}: {cut(reason, 200)}", "`git ls-remote` shows whether it is reachable")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            if self.asks:
                process.kill()  # git's children end when their pipes close
            else:
                os.killpg(process.pid, signal.SIGKILL)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in GIT_PLACES}
        given = {"GIT_CONFIG_COUNT": str(len(self.settings))} if self.settings else {}
        # Settings are not passed as arguments, because every user of the machine can list the arguments of a program.
        for at, (name, value) in enumerate(self.settings):
            given |= {f"GIT_CONFIG_KEY_{at}": name, f"GIT_CONFIG_VALUE_{at}": value}
        if not self.asks:
            given |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "SSH_ASKPASS_REQUIRE": "never"}
            if "GIT_SSH_COMMAND" not in kept and not any(name == "core.sshcommand" for name, _ in self.settings):
                given["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes -o ConnectTimeout=10"
        return {**kept, **given, "LC_ALL": "C", **self.environment}


def _cut_off(words: str) -> bool:
    """Return whether git's message says that the process which writes the received data hit the size limit."""
    ended = "invalid index-pack output" in words or f"died of signal {int(signal.SIGXFSZ)}" in words
    return "File too large" in words or (ended and "fsck" not in words)


def _read(file: Iterable[bytes]) -> str:
    file.seek(0)  # type: ignore[attr-defined]
    return bytes(file.read()).decode(errors="replace")  # type: ignore[attr-defined]


def find_remote(name: str, root: Path, pool: Path, *, asks: bool = True, seconds: float = 120.0) -> Remote:
    """Return the remote with this name in the lab's repository, or the remote at this address or path.

    Raises ConfigError for an empty name, or for a name that git would take for an option.
    """
    if not name.strip() or name.startswith("-") or any(c in name for c in "\n\0"):
        raise ConfigError(f"{name!r} is not a git remote", "give the name of a remote, an address or a path")
    address = _configured(name, root) or name
    if "://" not in address and Path(address).expanduser().is_dir():
        address = str(Path(address).expanduser().resolve())
    elif "://" not in address and (root / address).is_dir():
        address = str((root / address).resolve())  # the address of a named remote is relative to its repository
    return Remote(address, pool, seconds, asks, _settings(root))


def _configured(name: str, root: Path) -> str | None:
    try:
        return git(root, "config", "--get", f"remote.{name}.url").strip() or None
    except WorkspaceError:
        return None


def _settings(root: Path) -> tuple[tuple[str, str], ...]:
    try:
        found = git(root, "config", "--local", "-z", "--get-regexp", _CARRIED_SETTINGS)
    except WorkspaceError:
        return ()
    return tuple((name, value) for name, _, value in (entry.partition("\n") for entry in found.split("\0") if entry))


def mark_of(remote: Remote) -> str:
    """Return a short hash of the remote's address, which is the remote's name in the journal."""
    return sha256(remote.address.encode()).hexdigest()[:8]
