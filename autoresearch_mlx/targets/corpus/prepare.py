"""Find the corpus for a request, or build it.

A corpus is built in a temporary folder that is renamed at the end, so a folder with the corpus's name is always
complete.  The next ``prepare`` removes the folders that a killed ``prepare`` has left; downloads are kept and resumed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus import sources
from autoresearch_mlx.targets.corpus.download import Say
from autoresearch_mlx.targets.corpus.files import writing
from autoresearch_mlx.targets.corpus.rows import MANIFEST, Corpus, open_corpus
from autoresearch_mlx.targets.corpus.sources import Fixed, Pooled, Request

__all__ = ["SOURCES", "Request", "default_cache", "find", "prepare"]

SOURCES = ("stdlib", "climbmix", "tinystories", "folder")
RECIPE = 2
"""Version of the recipe that turns a request into rows.  Increase the number with any change that gives different rows
for the same request; corpora of an older recipe are then no longer used."""
SHORTEST_ROW = 8
SMALLEST_VOCAB, LARGEST_VOCAB = 260, 65_536
"""Smallest and largest number of tokens in a vocabulary.  256 tokens stand for the bytes, 4 tokens are special, and
every token's id must fit into 16 bits."""


def default_cache() -> Path:
    """Return the folder named by ``AUTORESEARCH_CACHE``, or a folder in the user's cache."""
    return Path(os.environ.get("AUTORESEARCH_CACHE") or Path.home() / ".cache" / "autoresearch-mlx").expanduser()


def find(request: Request, cache: Path) -> Corpus | None:
    """Return the corpus for this request, or None if no such corpus was built.  Raises CorpusError if the corpus is
    damaged."""
    place = _place(request, cache)
    return open_corpus(place) if place.exists() else None


def find_by_hash(sha256: Mapping[str, str], cache: Path) -> Corpus | None:
    """Return the corpus whose files have these hashes, whatever its name, or None; damaged corpora are skipped."""
    for manifest in sorted((cache / "corpora").glob(f"[!.]*/{MANIFEST}")):
        with suppress(CorpusError):
            corpus = open_corpus(manifest.parent)
            if corpus.manifest.sha256 == sha256:
                return corpus
    return None


def prepare(request: Request, cache: Path, say: Say, endpoint: str | None = None) -> Corpus:
    """Return the corpus for this request; build the corpus first if it does not exist.

    ``endpoint`` replaces the hub's address.  Raises CorpusError, after which only finished or resumable downloads are
    left.
    """
    place = _place(request, cache)
    if found := _usable(place, say):
        return found
    with writing(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
    for leftover in sweep(place.parent):
        say(f"removed {leftover}, left by a command that was stopped")
    source = _open(request, cache / "downloads", say, endpoint)
    _build(source, request, place, say)
    return open_corpus(place)


def _place(request: Request, cache: Path) -> Path:
    """Return the corpus's folder, ``<cache>/corpora/stdlib-v2048-t256-1a2b3c4d``.

    The name shows source, vocabulary and row length, and ends in a hash of the rest of the request.
    """
    _check(request)
    detail = sources.fingerprint(request.source, request.path, request.shards)
    rest = f"{RECIPE} {detail} {request.val_rows} {request.hidden_rows}"
    stem = f"folder-{request.path.resolve().name}" if request.path else request.source
    digest = hashlib.sha256(rest.encode()).hexdigest()[:8]
    name = f"{re.sub(r'[^0-9A-Za-z_.-]+', '-', stem)[:40]}-v{request.vocab_size}-t{request.seq_len}-{digest}"
    return cache / "corpora" / name


def _check(request: Request) -> None:
    if request.source not in SOURCES:
        raise CorpusError(f"no source is called {request.source!r}", f"Choose one of {', '.join(SOURCES)}.")
    if request.source == "folder" and request.path is None:
        hint = "Name a folder: `autoresearch-mlx prepare folder ~/texts`."
        raise CorpusError("the source `folder` needs a path", hint)
    if request.source != "folder" and request.path is not None:
        hint = "Leave the path out, or use `autoresearch-mlx prepare folder PATH`."
        raise CorpusError(f"the source {request.source} takes no path", hint)
    if not SMALLEST_VOCAB <= request.vocab_size <= LARGEST_VOCAB:
        raise CorpusError(
            f"vocab_size {request.vocab_size:,} is not possible: it must cover 256 bytes and 4 special tokens, "
            "and a row has only 16 bits for each token",
            f"Choose {SMALLEST_VOCAB} to {LARGEST_VOCAB}.",
        )
    if request.seq_len < SHORTEST_ROW:
        raise CorpusError(f"seq_len {request.seq_len} is too short", f"Choose {SHORTEST_ROW} or more.")
    if any(rows is not None and rows < 1 for rows in (request.val_rows, request.hidden_rows)):
        raise CorpusError("a held-out split needs at least one row", "Leave val_rows and hidden_rows out.")


def _usable(place: Path, say: Say) -> Corpus | None:
    if not place.exists():
        return None
    try:
        return open_corpus(place)
    except CorpusError as error:
        say(f"{error}; preparing the corpus again")
        with writing(place):
            shutil.rmtree(place)
        return None


def _open(request: Request, downloads: Path, say: Say, endpoint: str | None) -> Pooled | Fixed:
    if request.source == "climbmix":
        return sources.climbmix(request.shards, downloads, say, endpoint)
    if request.source == "tinystories":
        return sources.tinystories(downloads, say, endpoint)
    seq_len = request.seq_len
    return sources.folder(request.path, seq_len) if request.path else sources.standard_library(say, seq_len)


def _build(source: Pooled | Fixed, request: Request, place: Path, say: Say) -> None:
    from autoresearch_mlx.targets.corpus.build import build  # imports tokenizers, which `find` does not need

    building = place.with_name(f".building-{place.name}-{os.getpid()}")
    try:
        with writing(building):
            building.mkdir()
        build(source, request, building, place.name, say)
        _publish(building, place)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _publish(building: Path, place: Path) -> None:
    try:
        building.rename(place)
    except OSError:
        if not place.exists():  # another process may have built the same corpus first; its rows are the same
            raise


def sweep(folder: Path) -> list[str]:
    """Remove the build folders of dead processes, and return the names of the removed folders."""
    removed = []
    for leftover in folder.glob(".building-*"):
        pid = leftover.name.rpartition("-")[2]
        if pid.isdigit() and (int(pid) == os.getpid() or not _alive(int(pid))):
            shutil.rmtree(leftover, ignore_errors=True)
            removed.append(leftover.name)
    return removed


def _alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        with suppress(PermissionError):
            os.kill(pid, 0)
        return True
    return False
