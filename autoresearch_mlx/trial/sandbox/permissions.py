"""Define what a child may read, write and do; everything that its permissions do not list is denied.

The permissions do not list the operating system's own files (libraries, a few facts about the processor).  The module
for each system adds these files.
"""

from __future__ import annotations

import json
import os
import re
import site
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

TMP = "tmp"
"""Name of a child's private temporary folder inside its run folder."""
MOST_PROCESSES = 32
"""Maximum number of processes of a child on a CPU, where MLX starts a shell and a C++ compiler."""
_PATHS = ("read", "write", "listed", "closed")
_SECRET = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|COOKIE)S?(_|$)", re.I)


@dataclass(frozen=True, slots=True)
class Permissions:
    """The permissions of one child.  Paths are absolute and contain no symbolic link."""

    read: tuple[Path, ...]
    """Files that may be read, and folders that may be read with everything in them."""
    write: tuple[Path, ...]
    """Folders in which files may be made, read, changed and removed."""
    listed: tuple[Path, ...] = ()
    """Folders whose list of names may be read, but not the files in them."""
    closed: tuple[Path, ...] = ()
    """Files and folders that may not be read although they lie in a readable folder or in a folder of the system.

    They are the held-out text and its copies.
    """
    gpu: bool = False
    network: bool = False
    ports: tuple[int, ...] = ()
    """TCP ports of the parent's servers on this machine; the child may connect to them although it has no network."""
    processes: int | None = None
    """Maximum number of processes, including the child itself, or None for no limit.

    If the maximum is 1, the kernel refuses to start a second process.
    """
    leave_group: bool = False
    """Whether a process may leave the child's process group, and so escape when the group is killed."""
    memory_bytes: int | None = None
    """Largest memory of each single process, in bytes.  The parent watches the sum over all processes."""
    file_bytes: int | None = None
    """Size in bytes of the largest single file that the child may write."""

    def reads(self, path: Path) -> bool:
        """Return whether these permissions allow the child to read ``path``; the system's own files are ignored."""
        real = path.resolve()
        if any(real.is_relative_to(closed) for closed in self.closed):
            return False
        return any(real.is_relative_to(allowed) for allowed in (*self.read, *self.write))

    def to_json(self) -> str:
        """Return the permissions as JSON, which :func:`permissions_from_json` reads back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return json.dumps(values | {name: [str(path) for path in values[name]] for name in _PATHS})


def permissions_from_json(text: str) -> Permissions:
    values: dict[str, Any] = json.loads(text)
    paths = {name: tuple(map(Path, values[name])) for name in _PATHS}
    return Permissions(**values | paths | {"ports": tuple(values["ports"])})


def private_tmp(folder: Path) -> dict[str, str]:
    """Make an empty temporary folder inside a run folder; return the environment variables that name it for programs.

    Files that an earlier child of the run left in the temporary folder are removed.  Raises OSError.
    """
    import shutil  # each confined child imports this module at its start, and needs no shutil

    tmp = folder.resolve() / TMP
    if tmp.is_symlink() or (tmp.exists() and not tmp.is_dir()):
        tmp.unlink()
    shutil.rmtree(tmp, ignore_errors=True)
    if tmp.exists():  # an unconfined child may have made a folder that cannot be removed
        tmp.rename(tmp.with_name(f"{TMP}-{os.urandom(4).hex()}"))
    tmp.mkdir(mode=0o700, parents=True)
    return {**dict.fromkeys(("TMPDIR", "TMP", "TEMP", "XDG_CACHE_HOME"), str(tmp)), "CUDA_CACHE_PATH": str(tmp / "nv")}


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that edited code may see: all except those whose names suggest a secret, such as a key."""
    return {name: value for name, value in environ.items() if not _SECRET.search(name)}


def python_paths() -> tuple[Path, ...]:
    """Return the folders of this interpreter, of its packages, and of this package (which may be a checkout)."""
    packages = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    return (*map(Path, [*prefixes, *packages, sys.executable]), package())


def preloaded(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the libraries that LD_PRELOAD loads into a child, such as a fast BLAS."""
    both = f"{environment.get('LD_PRELOAD', '')}:{os.environ.get('LD_PRELOAD', '')}"
    return tuple(Path(name) for name in re.split(r"[:\s]+", both) if name.startswith("/"))


def real(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the paths with symbolic links resolved.

    Duplicates, paths that lie inside another path of the list, and paths that do not exist are dropped.
    """
    found = sorted({path.resolve() for path in paths if path.exists()})
    return tuple(p for p in found if not any(p != other and p.is_relative_to(other) for other in found))


def spared(path: Path, closed: Collection[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield the parts of ``path`` that are not closed, each with a flag: whether everything in the part is open.

    A folder that contains a closed path is yielded with False, and each of its open entries follows it.  Links are
    left out, because the path of the file that a link leads to decides whether the file is open.  ``closed`` has paths
    without symbolic links.
    """
    place = path.resolve()
    if any(place.is_relative_to(each) for each in closed):
        return
    if any(each.is_relative_to(place) for each in closed):
        above = {str(parent) for each in closed for parent in each.parents}
        yield from _entries(str(place), above, frozenset(map(str, closed)))
    else:
        yield path, True


def _entries(folder: str, above: Collection[str], closed: Collection[str]) -> Iterator[tuple[Path, bool]]:
    """Yield a folder that contains a closed path, and the open entries in it.

    ``above`` has every folder that contains a closed path.
    """
    yield Path(folder), False
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.path in above and not entry.is_symlink():
                yield from _entries(entry.path, above, closed)
            elif entry.path not in closed and not entry.is_symlink():
                yield Path(entry.path), True


def package() -> Path:
    return Path(__file__).resolve().parents[2]
