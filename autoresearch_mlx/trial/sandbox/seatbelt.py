"""Confine a process on macOS by a profile for ``sandbox-exec``, which Apple calls deprecated and still ships.

Everything that the profile does not name is denied; later rules override earlier ones.  The two rules that let Metal
work (``AGXDeviceUserClient``, ``MTLCompilerService``) were found by other people on macOS 26 with an M4 Pro.

Metal keeps compiled shaders in the user's cache folder, so Metal must be able to write to a cache folder.  If two runs
shared one folder, they could leave messages for each other.  So each process gets its own cache folder, by the
environment variable ``DIRHELPER_USER_DIR_SUFFIX``, which WebKit also sets for its processes.  No rule allows a write
outside the run folder and this cache folder, not even to the times, flags, mode, owner or attributes of a file.

A process that is already inside a sandbox cannot enter a second one (``sandbox_apply: Operation not permitted``, exit
code 71).

Nothing in this module has been run on a Mac; the tests only compare text.  So ``detect`` tests the profile before a run
uses it, and ``selftest`` shows whether the sandbox works.  The profile limits neither memory nor disk.  It can forbid a
second process, but it cannot limit the number of processes otherwise.  The parent watches memory, disk and processes.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from autoresearch_mlx.trial.sandbox.permissions import Permissions

TOOL = "/usr/bin/sandbox-exec"
NESTED = "sandbox_apply: Operation not permitted"

_SYSTEM = (
    "/usr/lib", "/usr/share", "/usr/bin", "/usr/sbin", "/usr/libexec", "/bin", "/sbin",
    "/System/Library", "/System/Cryptexes", "/System/Volumes/Preboot/Cryptexes", "/System/iOSSupport",
    "/Library/Apple", "/Library/Developer/CommandLineTools",
    "/opt/homebrew/Cellar", "/opt/homebrew/opt", "/opt/homebrew/lib",
    "/usr/local/Cellar", "/usr/local/opt", "/usr/local/lib",
    "/private/etc/localtime", "/private/etc/ssl/openssl.cnf", "/private/var/db/timezone", "/private/var/db/dyld",
    "/private/var/select", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom",
)  # fmt: skip
"""Readable paths of the system.

Not all of /System is readable, because /System/Volumes/Data leads to users' folders.
"""
_CACHE_FOLDER = 65538
"""The constant _CS_DARWIN_USER_CACHE_DIR of <unistd.h>, which os.confstr does not know by name."""
_SUFFIX = "DIRHELPER_USER_DIR_SUFFIX"
"""Variable whose value macOS appends to the paths of a process's cache and temporary folders."""
_OWN = "autoresearch-"
"""Beginning of the name of a process's own cache folder; the rest is random so that no other process can guess it."""
_LEFT_SECONDS = 2 * 86_400.0
"""Age in seconds after which a process's own cache folder counts as abandoned; no run lasts that long."""


def why_not() -> str | None:
    """Return the reason why this system has no sandbox-exec, as a sentence, or None if the program exists."""
    return None if Path(TOOL).is_file() else f"there is no {TOOL}; this macOS no longer ships it"


def confined(command: Sequence[str], permissions: Permissions) -> list[str]:
    """Return the command that runs ``command`` under ``permissions``.

    For a GPU, this function also makes a cache folder for the process, and sets the environment variable that names the
    folder.  Raises OSError for a path with control characters, because a profile cannot contain such a path.
    """
    shared = user_cache() if permissions.gpu else None
    cache = None if shared is None else own_cache(shared)
    if cache is not None:
        os.environ[_SUFFIX] = cache.name
    return [TOOL, "-p", profile(permissions, cache), *command]


def explain(returncode: int, stderr: str) -> str:
    """Return a sentence about why sandbox-exec did not start its command."""
    if NESTED in stderr:
        return "this process runs inside another sandbox, and macOS allows only one; start it outside that sandbox"
    last = (stderr.strip().splitlines() or [f"exit code {returncode}"])[-1]
    return f"sandbox-exec failed: {last}"


def profile(permissions: Permissions, cache: Path | None) -> str:
    """Return the permissions in sandbox-exec's language; ``cache`` is the process's own folder for shaders."""
    rules = [*_base(permissions), *_files(permissions)]
    if permissions.gpu:
        rules += _metal(cache)
    if permissions.network:
        rules += ["(allow network*)", "(allow system-socket)"]
    rules += [f'(allow network-outbound (remote tcp "localhost:{port}"))' for port in permissions.ports]
    if not permissions.leave_group:
        rules.append("(deny syscall-unix (syscall-number SYS_setsid) (syscall-number SYS_setpgid))")
    return "\n".join(rules) + "\n"


def user_cache() -> Path | None:
    """Return the user's cache folder under /private/var/folders; None on other systems."""
    if sys.platform != "darwin":
        return None
    found = os.confstr(_CACHE_FOLDER)
    return Path(found).resolve() if found else None


def own_cache(shared: Path) -> Path:
    """Make a cache folder with a random name in the user's cache folder ``shared``; remove the folders of old runs.

    Raises OSError.
    """
    for left in shared.glob(f"{_OWN}*"):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime > _LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    made = shared / f"{_OWN}{uuid.uuid4().hex}"
    made.mkdir(mode=0o700)
    return made


def _base(permissions: Permissions) -> list[str]:
    return [
        "(version 1)",
        "(deny default)",
        "(allow process-exec)",
        *(["(allow process-fork)"] if permissions.processes != 1 else []),
        "(allow process-info* (target same-sandbox))",
        "(allow signal (target same-sandbox))",
        "(allow sysctl-read)",
        '(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))',
    ]


def _files(permissions: Permissions) -> list[str]:
    """Return the rules for files.  Names and sizes may be read everywhere, because resolving a path needs them."""
    readable = [*map(Path, _SYSTEM), *permissions.read]
    return [
        "(allow file-read-metadata)",
        "(allow file-test-existence)",
        "(allow file-map-executable)",
        '(allow file-read-data (literal "/"))',
        *_each("file-read*", readable),
        *(f"(deny file-read-data (subpath {quoted(path)}))" for path in permissions.closed),
        *(f"(allow file-read-data (literal {quoted(path)}))" for path in permissions.listed),
        '(allow file-write-data (literal "/dev/null") (literal "/dev/zero"))',
        *_each("file-read* file-write*", permissions.write),
        # Links may not be made, because the parent opens files by name where a child may write, and a link could lead
        # the parent elsewhere.
        "(deny file-write-create (vnode-type SYMLINK))",
        "(deny file-link)",
    ]


def _metal(cache: Path | None) -> list[str]:
    return [
        '(allow iokit-open (iokit-user-client-class "AGXDeviceUserClient"))',
        '(allow mach-lookup (global-name "com.apple.MTLCompilerService"))',
        '(allow mach-lookup (xpc-service-name "com.apple.MTLCompilerService"))',
        *(_own(cache) if cache is not None else ()),
    ]


def _own(cache: Path) -> Iterator[str]:
    """Yield the rules for the process's own cache folder ``cache``; the process and Metal's compiler write to it.

    The compiler is a process of its own, and gets access to the folder by a sandbox extension.  Without the last rule,
    macOS denies ``file-issue-extension`` for ``com.apple.metalfe``, and no shader can be compiled from source.
    """
    yield from _each("file-read* file-write*", [cache])
    extension = '(extension-class "com.apple.app-sandbox.read-write")'
    yield f"(allow file-issue-extension (require-all {extension} (subpath {quoted(cache)})))"


def _each(what: str, paths: Iterable[Path]) -> list[str]:
    """Return one rule for each path; ``subpath`` covers a single file, or a folder with everything in it."""
    return [f"(allow {what} (subpath {quoted(path)}))" for path in paths]


def quoted(path: Path) -> str:
    """Quote a path for the profile's language.  Raises OSError for a path with control characters."""
    text = str(path)
    if not text.isprintable():
        raise OSError(None, "a path with control characters cannot be written into a sandbox profile", text)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
