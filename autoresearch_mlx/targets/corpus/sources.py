"""Define the sources of text: two datasets of the Hugging Face hub, a folder, and the standard library.

A ``Pooled`` source is one stream of documents, which this package splits by a hash of each document.  A pooled source
is small, so all of its text is used.  A ``Fixed`` source is already split into training and held-out text.  A fixed
source is large, so it is packed in the same way as in karpathy/autoresearch.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus import stdlib
from autoresearch_mlx.targets.corpus.documents import (
    SUFFIXES,
    Batches,
    Skip,
    batched,
    chapters,
    check_parquet,
    parquet,
    texts,
)
from autoresearch_mlx.targets.corpus.download import OFFLINE, Say, discard, fetch, receipt

CLIMBMIX = "karpathy/climbmix-400b-shuffle"
CLIMBMIX_VAL = 6542
"""Number of the dataset's last shard, on which upstream validates."""
CLIMBMIX_HIDDEN = 6541
"""Number of the shard that is held out for certification: the shard before the validation shard.  Upstream holds
out only its validation shard."""
TINYSTORIES = "karpathy/tinystories-gpt4-clean"
TINYSTORIES_FILE = "tinystories_gpt4_clean.parquet"
TINYSTORIES_PART = 10_000
"""Number of rows of each held-out part.  The dataset's card says that rows 0 to 9,999 are for testing, the next
10,000 for validation, and the rest for training."""
CHAPTER_CHARS_PER_TOKEN = 8
"""A text is cut before the split if it has more than this many characters per token of a row (about two rows).

Without such cuts, two or three files could fill a held-out split, and the score would depend on these files alone.
"""
CHAPTERS_PER_CORPUS = 256
"""Least number of pieces into which a small corpus is cut, so that even a single file gives three splits."""
SHORTEST_CHAPTER = 512


@dataclass(frozen=True, slots=True)
class Request:
    """The description of a wanted corpus.  Only the source ``folder`` uses ``path``; only ``climbmix`` uses
    ``shards``."""

    source: str
    path: Path | None = None
    shards: int = 10
    vocab_size: int = 8192
    seq_len: int = 2048
    val_rows: int | None = None
    """Number of rows to hold out.  None means a share of the text for a small source, and upstream's 20,971,520 tokens
    for a large source."""
    hidden_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Pooled:
    """One stream of documents that can be read several times.

    ``text(skip)`` starts the stream, and calls ``skip`` with each file that it leaves out.
    """

    text: Callable[[Skip], Batches]
    detail: dict[str, Any]
    open_text: Callable[[], Batches] | None = None
    """Function that starts a stream of the text that the edited code can read, or None if the code can read no text.
    This text becomes held-out rows only if there is too little other text."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A source that its publisher has split: three functions, each of which starts the stream of one split."""

    train: Callable[[], Batches]
    val: Callable[[], Batches]
    hidden: Callable[[], Batches]
    detail: dict[str, Any]


def standard_library(say: Say, seq_len: int) -> Pooled:
    """Return Python's standard library as a source, with the docstrings of modules written in C.

    The held-out documents come from packages that the sandbox keeps closed, if these packages have enough text.
    """
    files = stdlib.source_files()
    if not stdlib.has_tests():
        say("this Python comes without its `test` package: the text is less than half of the usual 30 MB")
    limit = _chapter_limit(files, seq_len)

    def text(skip: Skip) -> Batches:
        return batched(
            piece for each in chain(_all(files, skip), stdlib.docstrings()) for piece in chapters(each, limit)
        )

    def open_text() -> Batches:
        readable = (file for file in files if not stdlib.is_closed(file))
        given = chain(_all(readable, lambda path: None), stdlib.docstrings())
        return batched(piece for each in given for piece in chapters(each, limit))

    return Pooled(text, {"python": platform.python_version(), "files": len(files)}, open_text)


def folder(path: Path, seq_len: int) -> Pooled:
    """Return the text files of a folder as a source.  Raises CorpusError if the folder has no file of a known kind."""
    files = folder_files(path)
    limit = _chapter_limit(files, seq_len)

    def text(skip: Skip) -> Batches:
        return batched(piece for each in _all(files, skip) for piece in chapters(each, limit))

    return Pooled(text, {"path": str(path.resolve()), "files": len(files)})


def climbmix(shards: int, downloads: Path, say: Say, endpoint: str | None) -> Fixed:
    """Return ClimbMix as a source: shards 0 to ``shards`` - 1 for training, the last two held out.

    Raises CorpusError.
    """
    if not 1 <= shards <= CLIMBMIX_HIDDEN:
        raise CorpusError(
            f"cannot use {shards} training shards; choose 1 to {CLIMBMIX_HIDDEN} of {CLIMBMIX}", "Try --shards 10."
        )
    wanted = [CLIMBMIX_VAL, CLIMBMIX_HIDDEN, *range(shards)]
    paths = [_fetch(CLIMBMIX, f"shard_{number:05d}.parquet", downloads, say, endpoint) for number in wanted]
    val, hidden, *train = paths

    def training() -> Batches:
        return chain.from_iterable(parquet(path) for path in train)

    return Fixed(training, lambda: parquet(val), lambda: parquet(hidden), _detail(CLIMBMIX, paths))


def tinystories(downloads: Path, say: Say, endpoint: str | None) -> Fixed:
    """Return TinyStories as a source, split as its card says.  Raises CorpusError."""
    path = _fetch(TINYSTORIES, TINYSTORIES_FILE, downloads, say, endpoint)
    part = TINYSTORIES_PART
    return Fixed(
        train=lambda: parquet(path, 2 * part),
        val=lambda: parquet(path, part, 2 * part),
        hidden=lambda: parquet(path, 0, part),
        detail=_detail(TINYSTORIES, [path]),
    )


def folder_files(path: Path) -> list[Path]:
    """Return the text files below a folder, sorted, without hidden files.  Raises CorpusError."""
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        raise CorpusError(f"{path} {what}", "Name a folder with text in it: `autoresearch-mlx prepare folder PATH`.")
    found: list[Path] = []
    for where, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(where, name) for name in names if Path(name).suffix in SUFFIXES and not name.startswith(".")]
    found = [file for file in found if file.is_file()]  # a link may lead nowhere
    if not found:
        raise CorpusError(
            f"{path} holds no text file ({', '.join(SUFFIXES)})",
            "Name a folder with text in it, or use `autoresearch-mlx prepare stdlib`.",
        )
    return sorted(found)


def fingerprint(source: str, path: Path | None, shards: int) -> str:
    """Return a text that changes with everything that defines a source besides the source's name.

    Raises CorpusError.  The text must be quick to compute, because every search for a corpus needs it.  So the files of
    a folder are described by name, size and time of change.  Python's own library is described by Python's version and
    the names and sizes of its files.
    """
    if source == "climbmix":
        return f"{CLIMBMIX} {shards}"
    if source == "tinystories":
        return TINYSTORIES
    files = stdlib.source_files() if path is None else folder_files(path)
    root = path or stdlib.root()
    stats = ((file, file.stat()) for file in files)
    lines = (f"{file.relative_to(root)} {stat.st_size} {stat.st_mtime_ns if path else ''}" for file, stat in stats)
    return hashlib.sha256("\n".join([sys.version if path is None else "", *lines]).encode()).hexdigest()


def _all(files: Iterable[Path], skip: Skip) -> Iterator[str]:
    return chain.from_iterable(texts(file, skip) for file in files)


def _chapter_limit(files: Iterable[Path], seq_len: int) -> int:
    total = sum(file.stat().st_size for file in files)
    return max(SHORTEST_CHAPTER, min(CHAPTER_CHARS_PER_TOKEN * seq_len, total // CHAPTERS_PER_CORPUS))


def _fetch(repository: str, name: str, downloads: Path, say: Say, endpoint: str | None) -> Path:
    path = fetch(repository, name, downloads / repository.replace("/", "--"), say, endpoint)
    try:
        check_parquet(path)
    except CorpusError as error:
        discard(path)  # the next run must not take a bad file for a good one
        raise CorpusError(f"{error}; the download has been removed", OFFLINE) from error
    return path


def _detail(repository: str, paths: Iterable[Path]) -> dict[str, Any]:
    receipts = {path.name: receipt(path) or {} for path in paths}
    return {"repository": repository, "etags": {name: known.get("etag") for name, known in receipts.items()}}
