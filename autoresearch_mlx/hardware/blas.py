"""Give MLX a fast BLAS on a Linux CPU.

MLX's Linux wheel contains the reference BLAS from netlib.  On two cores the reference BLAS reaches about 5 GFLOP/s of
float32, and OpenBLAS reaches hundreds of GFLOP/s.  MLX calls only three functions of a BLAS, ``cblas_{s,d,c}gemm``.  So
a preloaded library that exports these functions replaces the reference BLAS (LD_PRELOAD, ld.so(8)).  Only float32
becomes faster, because MLX computes float16 and bfloat16 products itself.

    blas = find_blas(cache, read_machine())
    subprocess.run(command, env={**os.environ, **child_environment(blas)})

The dependency ``scipy-openblas32`` contains OpenBLAS, and every symbol in it has the prefix ``scipy_``.  Once for each
version, ``patchelf`` writes into the cache a copy whose three functions have no prefix.  If the wheel cannot be used,
the system's OpenBLAS is tried, and ``Blas.note`` has the reason.  Only a wrong ``AUTORESEARCH_BLAS`` raises an error.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Literal, TypeAlias

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.hardware.machine import Machine, package_version

Source: TypeAlias = Literal["scipy-openblas32", "system", "env", "reference", "off", "accelerate"]

VARIABLE = "AUTORESEARCH_BLAS"
SYMBOLS = ("cblas_sgemm", "cblas_dgemm", "cblas_cgemm")
# OpenBLAS may not recognise a chip that is newer than OpenBLAS.  Version 0.3.21 took a Sapphire Rapids for a Prescott,
# and reached 31 GFLOP/s.  With the kernels named here it reached 286 GFLOP/s.
CORETYPES = {"avx512": "SkylakeX", "avx2": "Haswell"}
# The matrix products of a small model are too short to share between threads.  In bench/blas.py on two idle cores, two
# threads trained 1.2 times as fast as one.  With both cores busy they trained at a twentieth of the speed, because each
# product waits for a thread that is not running.
THREADS = 1
SYSTEM_LIBRARIES = (
    "usr/lib/*/openblas-pthread/libopenblas.so.0",  # Debian, Ubuntu
    "usr/lib/*/libopenblas.so.0",
    "usr/lib64/libopenblasp.so.0",  # Fedora: the p is for threads
    "usr/lib64/libopenblas.so.0",
    "usr/lib/libopenblas.so.0",
    "usr/local/lib/libopenblas.so.0",
)


@dataclass(frozen=True, slots=True)
class Blas:
    """The BLAS that child processes get."""

    library: Path | None
    """The library to preload; None for the BLAS inside MLX."""
    source: Source
    """Where the library was found."""
    coretype: str | None = None
    """Name of the processor, set as OPENBLAS_CORETYPE; None lets OpenBLAS detect the processor."""
    note: str = ""
    """Why the wheel's OpenBLAS cannot be used; empty if it can."""


class _Unusable(Exception):
    """Raised when a source of a BLAS cannot be used here; the message says why."""


def find_blas(
    cache: Path,
    machine: Machine,
    environ: Mapping[str, str] = os.environ,
    root: Path = Path("/"),
    wheel: str = "scipy_openblas32",
) -> Blas:
    """Return the BLAS to use: ``AUTORESEARCH_BLAS`` (a path or ``off``), else the wheel's, the system's or MLX's own.

    The first call writes the renamed copy (25 MB under ``cache/blas``, about 0.2 s); later calls take milliseconds.
    Raises ConfigError when ``AUTORESEARCH_BLAS`` names a file that cannot be preloaded.
    """
    coretype = CORETYPES.get(machine.simd or "")
    if machine.system != "Linux":
        return Blas(None, "accelerate")
    if choice := environ.get(VARIABLE, "").strip():
        library = _chosen(choice)
        return Blas(library, "env" if library else "off", coretype)
    try:
        return Blas(relabelled(cache / "blas", wheel), "scipy-openblas32", coretype)
    except _Unusable as reason:
        library = system_library(root)
        return Blas(library, "system" if library else "reference", coretype, str(reason))


def child_environment(blas: Blas, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables to add to a child's environment.

    OpenBLAS variables that the user has set keep their values; the library is appended to the user's LD_PRELOAD.
    """
    if blas.library is None:
        return {}
    preloaded = environ.get("LD_PRELOAD", "").replace(" ", ":").split(":")
    added = {"LD_PRELOAD": ":".join([p for p in preloaded if p and p != str(blas.library)] + [str(blas.library)])}
    if blas.coretype:
        added["OPENBLAS_CORETYPE"] = environ.get("OPENBLAS_CORETYPE", blas.coretype)
    added["OPENBLAS_NUM_THREADS"] = environ.get("OPENBLAS_NUM_THREADS", str(THREADS))
    return added


def advice(blas: Blas) -> str | None:
    """Return a text that names the BLAS for CPU runs and, if it is slow, says what to do; None on macOS.

    On macOS, MLX uses Apple's Accelerate.
    """
    match blas.source:
        case "accelerate":
            return None
        case "off":
            return f"MLX's own reference BLAS, because {VARIABLE}=off. It is slow; unset {VARIABLE} to use OpenBLAS."
        case "reference":
            why = f" ({blas.note})" if blas.note else ""
            return (
                f"MLX's own reference BLAS{why}: float32 products are about 50 times slower than with OpenBLAS. "
                f"Reinstall the dependencies, or install libopenblas0-pthread (Debian, Ubuntu) or openblas-threads "
                f"(Fedora), or set {VARIABLE} to a libopenblas.so."
            )
        case _:
            core = f", kernels for {blas.coretype}" if blas.coretype else ""
            why = f" ({blas.note})" if blas.note else ""
            return f"{blas.library} from {blas.source}{core}{why}."


def relabelled(folder: Path, wheel: str = "scipy_openblas32") -> Path:
    """Return the path of the renamed copy of the wheel's OpenBLAS; the first call writes it.  Raises _Unusable."""
    package = find_spec(wheel)
    if package is None or not package.submodule_search_locations:
        raise _Unusable(f"{wheel} is not installed")
    original = Path(package.submodule_search_locations[0]) / "lib" / "libscipy_openblas.so"
    try:
        key = hashlib.sha256(f"{original.stat().st_size} {SYMBOLS}".encode()).hexdigest()[:12]
        library = folder.absolute() / f"{package_version('scipy-openblas32') or 'unknown'}-{key}" / "libopenblas.so"
        if not _preloadable(library):
            raise _Unusable(f"LD_PRELOAD cannot contain a path with spaces or colons: {library.parent}")
        if not library.is_file():
            _relabel(original, library)
    except OSError as error:
        raise _Unusable(f"the copy of OpenBLAS cannot be made: {error}") from error
    return library


def _relabel(original: Path, library: Path) -> None:
    """Write the copy under a temporary name, test it, then rename it, so that other processes see the whole file or
    nothing."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        names, copy = Path(scratch) / "names", Path(scratch) / library.name
        names.write_text("".join(f"scipy_{name} {name}\n" for name in SYMBOLS), encoding="ascii")
        _call(_patchelf(), "--rename-dynamic-symbols", str(names), "--output", str(copy), str(original))
        # Load the copy once here, because a damaged library would be preloaded into every later run.
        trial = "import ctypes, sys; blas = ctypes.CDLL(sys.argv[1]); [blas[name] for name in sys.argv[2:]]"
        _call(sys.executable, "-I", "-c", trial, str(copy), *SYMBOLS)
        copy.replace(library)


def _patchelf() -> str:
    beside = Path(sys.executable).with_name("patchelf")
    program = str(beside) if beside.is_file() else which("patchelf")
    if program is None:
        raise _Unusable("patchelf is not installed")
    return program


def _call(*command: str) -> None:
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True)
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        raise _Unusable(f"{Path(command[0]).name} failed: {said[-1] if said else error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise _Unusable(f"{Path(command[0]).name} did not end within {error.timeout:.0f} s") from error


def system_library(root: Path = Path("/")) -> Path | None:
    """Return the path of the system's OpenBLAS; None if it is in none of the folders of :data:`SYSTEM_LIBRARIES`."""
    return next((path for pattern in SYSTEM_LIBRARIES for path in sorted(root.glob(pattern))), None)


def _chosen(choice: str) -> Path | None:
    if choice.lower() == "off":
        return None
    path = Path(choice).expanduser().absolute()
    hint = f"Give the path of a libopenblas.so, or {VARIABLE}=off."
    if not path.is_file():
        raise ConfigError(f"{VARIABLE} names {choice}, which is not a file.", hint)
    if not _preloadable(path):
        raise ConfigError(f"{VARIABLE} names {choice}: LD_PRELOAD cannot contain a path with spaces or colons.", hint)
    return path


def _preloadable(path: Path) -> bool:
    return not any(character in str(path) for character in ": \t\n")
