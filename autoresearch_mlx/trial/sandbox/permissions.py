"""What a child may touch, as an allow-list: everything that is not named here is denied.

The operating system's own files (libraries, a few facts about the processor) are not part of a permissions; each
system's module knows its own.  Single files are allowed where their neighbours are secret: the validation rows
lie beside the training rows.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import site
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

TMP = "tmp"
"""The private temporary folder of a child, inside its run folder."""
MOST_PROCESSES = 32
"""On a CPU, MLX asks for a C++ compiler at its start and compiles with it: a shell and a few short children."""
_PATHS = ("read", "write", "listed")
_SECRET = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|COOKIE)S?(_|$)", re.I)


@dataclass(frozen=True, slots=True)
class Permissions:
    """One child's permissions.  Paths are absolute and real: no symbolic link in them."""

    read: tuple[Path, ...]
    """Files, and folders with all that they hold."""
    write: tuple[Path, ...]
    """Folders whose files may be made, changed and removed (and read)."""
    listed: tuple[Path, ...] = ()
    """Folders whose names may be read, not their files' contents."""
    gpu: bool = False
    network: bool = False
    processes: int | None = None
    """How many processes the child may be, itself included; at 1 the kernel refuses a second one."""
    leave_group: bool = False
    """Whether a process may leave the child's process group, where killing the group does not reach it."""
    memory_bytes: int | None = None
    """Of one process; the parent watches the sum."""
    file_bytes: int | None = None
    """Largest single file."""

    def reads(self, path: Path) -> bool:
        """Whether this permissions, by itself, lets a file be read."""
        real = path.resolve()
        return any(real.is_relative_to(allowed) for allowed in (*self.read, *self.write))

    def to_json(self) -> str:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return json.dumps(values | {name: [str(path) for path in values[name]] for name in _PATHS})


def permissions_from_json(text: str) -> Permissions:
    values: dict[str, Any] = json.loads(text)
    return Permissions(**values | {name: tuple(map(Path, values[name])) for name in _PATHS})


def private_tmp(folder: Path) -> dict[str, str]:
    """An empty temporary folder inside a run folder, and the variables that lead programs there.

    What an earlier child of the same run left there is removed.  Raises OSError.
    """
    tmp = folder.resolve() / TMP
    if tmp.is_symlink() or (tmp.exists() and not tmp.is_dir()):
        tmp.unlink()
    shutil.rmtree(tmp, ignore_errors=True)
    if tmp.exists():  # a child without a sandbox may have closed a folder in it
        tmp.rename(tmp.with_name(f"{TMP}-{uuid.uuid4().hex[:8]}"))
    tmp.mkdir(mode=0o700, parents=True)
    return {**dict.fromkeys(("TMPDIR", "TMP", "TEMP", "XDG_CACHE_HOME"), str(tmp)), "CUDA_CACHE_PATH": str(tmp / "nv")}


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that edited code may see: keys and tokens by their usual names are left out."""
    return {name: value for name, value in environ.items() if not _SECRET.search(name)}


def python_paths() -> tuple[Path, ...]:
    """This interpreter, its packages, and this package's own folder where it is installed from a checkout."""
    packages = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    return (*map(Path, [*prefixes, *packages, sys.executable]), package())


def preloaded(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Libraries that the loader brings into a child: the fast BLAS."""
    both = f"{environment.get('LD_PRELOAD', '')}:{os.environ.get('LD_PRELOAD', '')}"
    return tuple(Path(name) for name in re.split(r"[:\s]+", both) if name.startswith("/"))


def real(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Resolved, each once, without those inside another one; what does not exist needs no permission."""
    found = sorted({path.resolve() for path in paths if path.exists()})
    return tuple(p for p in found if not any(p != other and p.is_relative_to(other) for other in found))


def package() -> Path:
    return Path(__file__).resolve().parents[2]
