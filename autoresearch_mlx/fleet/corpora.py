"""Send a session's corpus from the coordinator to a machine that lacks it, in parts of a few megabytes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus.files import writing
from autoresearch_mlx.targets.corpus.prepare import sweep
from autoresearch_mlx.targets.corpus.rows import MANIFEST, SPLITS, TOKEN_BYTES, TOKENIZER, open_corpus, verify

LARGEST_SENT = 10**9
"""Largest corpus that is sent, in bytes.  A larger corpus must be prepared on the machine itself."""
PART_BYTES = 4 * 2**20
_FILES = frozenset({MANIFEST, TOKENIZER, TOKEN_BYTES, *(f"{split}.npy" for split in SPLITS)})
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,120}")


@dataclass(frozen=True, slots=True)
class Offer:
    """A corpus that the coordinator can send."""

    digest: str
    name: str
    """Name of the corpus's folder."""
    files: dict[str, int]
    """Name of each file -> its size in bytes."""

    @property
    def size(self) -> int:
        """Size of all files, in bytes."""
        return sum(self.files.values())


Ask = Callable[[str, int], Awaitable[bytes]]
"""Function that takes a file's name and an offset, and gets at most PART_BYTES of the file from the coordinator."""


def digest_of(hashes: Mapping[str, Any]) -> str:
    """Return the hash of a corpus, 12 hexadecimal digits, which is computed from the hashes of its files."""
    return hashlib.sha256(json.dumps(dict(sorted(hashes.items()))).encode()).hexdigest()[:12]


def corpora_in(cache: Path) -> dict[str, Path]:
    """Return the folders of the corpora that are prepared on this machine, by the hash of the corpus."""
    return dict(_corpora(cache))


def _corpora(cache: Path) -> Iterator[tuple[str, Path]]:
    for manifest in (cache / "corpora").glob(f"[!.]*/{MANIFEST}"):
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            yield digest_of(json.loads(manifest.read_text(encoding="utf-8"))["sha256"]), manifest.parent


def offered(digest: str, cache: Path) -> dict[str, Any]:
    """Return the offer of a corpus as JSON; empty if the corpus is not on this machine, or is too large to be sent."""
    folder = corpora_in(cache).get(digest)
    if folder is None:
        return {}
    with suppress(OSError):
        offer = Offer(digest, folder.name, {name: (folder / name).stat().st_size for name in sorted(_FILES)})
        return asdict(offer) if offer.size <= LARGEST_SENT else {}
    return {}


def part_of(digest: str, name: str, at: int, cache: Path) -> bytes:
    """Return at most PART_BYTES of the corpus's file ``name``, from byte ``at`` on.

    The result is empty at the end of the file, and for an unknown file.
    """
    folder = corpora_in(cache).get(digest)
    if folder is None or name not in _FILES or at < 0:
        return b""
    with (folder / name).open("rb") as file:
        file.seek(at)
        return file.read(PART_BYTES)


def offer_from(values: Mapping[str, Any]) -> Offer:
    """Return the offer that came over the network as ``values``.  Raises CorpusError for an invalid offer."""
    offer = Offer(str(values.get("digest")), str(values.get("name")), dict(values.get("files") or {}))
    sizes = offer.files.values()
    if offer.files.keys() != _FILES or not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise CorpusError(
            "the coordinator offers a corpus in an unknown format", "install the same version on both machines"
        )
    if not _NAME.fullmatch(offer.name) or offer.size > LARGEST_SENT:
        said = f"the coordinator offers a corpus named {offer.name[:50]!r} with {offer.size:,} bytes"
        raise CorpusError(said, "prepare the corpus here")
    return offer


async def fetch(offer: Offer, ask: Ask, cache: Path) -> None:
    """Fetch an offered corpus into ``cache``; check the hash of every file before the corpus can be used.

    A fetch that fails leaves no files.  If the process is killed, the next fetch removes its files.  Raises CorpusError
    if the disk is full or the content is wrong, and the errors of ``ask``.
    """
    corpora = cache / "corpora"
    arriving = corpora / f".building-{offer.name}-{os.getpid()}"
    with writing(arriving):
        sweep(corpora)  # a process that was killed during a fetch has left its folder
        arriving.mkdir(parents=True, exist_ok=True)
    try:
        for name, size in offer.files.items():
            await _fetch_file(arriving / name, size, ask)
        corpus = open_corpus(arriving)
        verify(corpus)
        if digest_of(corpus.manifest.sha256) != offer.digest:
            raise CorpusError("the coordinator sent a corpus that differs from its offer", "call `fleet join` again")
        place = corpora / offer.name
        if offer.digest not in corpora_in(cache):  # another machine of the fleet may share this cache
            with writing(place):
                # A corpus of the same name may have other content, such as another Python's standard library.
                arriving.rename(place if not place.exists() else corpora / f"{offer.name}-{offer.digest}")
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


async def _fetch_file(path: Path, size: int, ask: Ask) -> None:
    with writing(path):
        file = path.open("wb", buffering=0)
    with file:
        at = 0
        while at < size:
            part = await ask(path.name, at)
            if not part or at + len(part) > size:
                raise CorpusError(f"the coordinator sent {path.name} with the wrong size", "call `fleet join` again")
            with writing(path):
                at += file.write(part)
        with writing(path):
            os.fsync(file.fileno())
