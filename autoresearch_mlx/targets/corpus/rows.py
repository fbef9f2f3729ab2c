"""Open a prepared corpus: memory-mapped rows, the bytes of each token, and the manifest with the hashes of all files.

The training process imports this module, so it uses only numpy and the standard library.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from autoresearch_mlx.errors import CorpusError

Split: TypeAlias = Literal["train", "val", "hidden"]
Rows: TypeAlias = npt.NDArray[np.uint16]

SCHEMA = 1
SPLITS: tuple[Split, ...] = ("train", "val", "hidden")
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
TOKEN_BYTES = "token_bytes.npy"
HEADER_BYTES = 128
"""Length in bytes of the .npy header of every row file, fixed so that a file's size can be checked without opening it.
"""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of a corpus and its source; ``manifest.json`` has the same fields."""

    schema: int
    name: str
    source: str
    source_detail: dict[str, Any]
    """Facts about the source.  For a dataset: repository, commit and shards.  For a folder or Python's own library: its
    path or version, the number of files, the SHA-256 of the text, and the number of skipped files."""
    sha256: dict[str, str]
    """SHA-256 of every file except the manifest, by the file's name."""
    tokenizer_sha256: str
    vocab_size: int
    """Number of tokens of the tokenizer.  The number is smaller than requested if the text yields no more tokens."""
    seq_len: int
    bos: int
    rows: dict[str, int]
    tokens: dict[str, int]
    """Number of tokens of each split, including BOS: rows * (seq_len + 1)."""
    bytes: dict[str, int]
    """Number of bytes of text in each split."""
    documents: dict[str, int]
    """Number of BOS tokens in the rows of each split, one for each document or piece of a long document."""
    bytes_per_token: float
    """Bytes per token in the training rows; BOS counts as a token."""
    packing: str
    created: str
    tools: dict[str, str]


@dataclass(frozen=True, slots=True)
class Corpus:
    """An opened corpus; rows are read from the disk only when they are needed."""

    folder: Path
    manifest: Manifest

    def path(self, split: Split) -> Path:
        """Return the file of a split's rows."""
        return self.folder / f"{split}.npy"

    def rows(self, split: Split) -> Rows:
        """Return a read-only memory map, uint16 ``[rows, seq_len + 1]``.  Raises CorpusError."""
        rows = _load(self.path(split), self.manifest.source, memory_map=True)
        expected = (self.manifest.rows[split], self.manifest.seq_len + 1)
        if rows.dtype != np.uint16 or rows.shape != expected:
            raise _damaged(
                self.path(split), f"holds {rows.dtype}{list(rows.shape)}, not uint16{list(expected)}", self.manifest
            )
        return rows

    def token_bytes(self) -> npt.NDArray[np.int32]:
        """Return each token's number of bytes of text, int32 ``[vocab_size]``, 0 for special tokens.

        Raises CorpusError.
        """
        weights = _load(self.folder / TOKEN_BYTES, self.manifest.source, memory_map=False)
        if weights.dtype != np.int32 or weights.shape != (self.manifest.vocab_size,):
            expected = f"int32[{self.manifest.vocab_size}]"
            why = f"holds {weights.dtype}{list(weights.shape)}, not {expected}"
            raise _damaged(self.folder / TOKEN_BYTES, why, self.manifest)
        return weights


def open_corpus(folder: Path) -> Corpus:
    """Open a prepared corpus after quick checks: the manifest is readable, and all files exist with the right sizes.

    Raises CorpusError, which names the file and the next step.  :func:`verify` checks the content.
    """
    manifest = read_manifest(folder / MANIFEST)
    corpus = Corpus(folder, manifest)
    for split in SPLITS:
        _check_size(corpus.path(split), HEADER_BYTES + manifest.rows[split] * (manifest.seq_len + 1) * 2, manifest)
    for name in (TOKENIZER, TOKEN_BYTES):
        _check_size(folder / name, None, manifest)
    return corpus


def verify(corpus: Corpus) -> None:
    """Compare the SHA-256 of every file with the manifest.  Raises CorpusError for the first file whose SHA-256
    differs."""
    for name, expected in corpus.manifest.sha256.items():
        path = corpus.folder / name
        _check_size(path, None, corpus.manifest)
        found = sha256_of(path)
        if found != expected:
            raise _damaged(path, f"has SHA-256 {found[:12]}..., not {expected[:12]}...", corpus.manifest)


def read_manifest(path: Path) -> Manifest:
    """Read ``manifest.json``.  Raises CorpusError if the file is missing, is not a manifest, or has a later schema."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CorpusError(f"no corpus in {path.parent}: {error.strerror} ({path.name})", _again("")) from error
    except ValueError as error:
        raise CorpusError(f"{path} is not JSON: {error}", _again("")) from error
    return _manifest(path, values)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``."""
    path.write_text(json.dumps(asdict(manifest), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(path: Path, values: Any) -> Manifest:
    schema = values.get("schema") if isinstance(values, Mapping) else None
    if not isinstance(schema, int):
        raise CorpusError(f"{path} is not a corpus manifest: it has no schema number", _again(""))
    if schema > SCHEMA:
        raise CorpusError(
            f"{path} has schema {schema}; this version reads up to {SCHEMA}",
            "Update autoresearch-mlx, or prepare the text again.",
        )
    names = [field.name for field in fields(Manifest)]
    missing = [name for name in names if name not in values]
    if missing:
        raise CorpusError(f"{path} lacks {', '.join(missing)}", _again(str(values.get("source", ""))))
    return Manifest(**{name: values[name] for name in names})


def _check_size(path: Path, expected: int | None, manifest: Manifest) -> None:
    try:
        size = path.stat().st_size
    except PermissionError:
        return  # a sandbox may hide held-out rows from the training process, which never asks for them
    except OSError as error:
        raise _damaged(path, f"cannot be read: {error.strerror}", manifest) from error
    if size == 0 or (expected is not None and size != expected):
        raise _damaged(path, f"has {size:,} bytes" + (f", not {expected:,}" if expected else ""), manifest)


def _load(path: Path, source: str, memory_map: bool) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except PermissionError as error:
        raise CorpusError(
            f"cannot read {path}: {error.strerror}", "Give this process the right to read the file."
        ) from error
    except (OSError, ValueError) as error:
        raise CorpusError(f"cannot read {path}: {error}", _again(source)) from error
    return array


def _damaged(path: Path, what: str, manifest: Manifest) -> CorpusError:
    return CorpusError(f"{path} {what}", _again(manifest.source))


def _again(source: str) -> str:
    command = f"autoresearch-mlx prepare {source}".strip() + (" PATH" if source == "folder" else "")
    return f"Delete the folder and run `{command}`."
