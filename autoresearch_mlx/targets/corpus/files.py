"""Write files of rows, row by row, and turn disk errors into messages."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus.rows import HEADER_BYTES, Rows

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CHUNK_ROWS = 4096


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system's error while writing ``path`` into a CorpusError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            hint = "free some space, or set AUTORESEARCH_CACHE to a folder on a larger disk, and run the command again"
        else:
            hint = "set AUTORESEARCH_CACHE to a folder you can write to, and run the command again"
        raise CorpusError(f"cannot write {path}: {error.strerror or error}", hint) from error


def write_rows(path: Path, rows: Iterable[Rows], width: int) -> int:
    """Write rows, uint16 ``[width]``, into one .npy file as they come; return the number of rows.

    Raises CorpusError, for example if the disk is full.
    """
    # No memory map is used, because on a full disk a memory map would end the process with SIGBUS.
    count = 0
    with writing(path):
        file = path.open("wb", buffering=1 << 20)
    try:
        with writing(path):
            file.write(_header(0, width))
        for row in rows:
            with writing(path):
                file.write(row.tobytes())
            count += 1
        with writing(path):
            file.seek(0)
            file.write(_header(count, width))  # as long as the first header, which had no row count yet
            file.flush()
            os.fsync(file.fileno())
    finally:
        with suppress(OSError):  # an error while flushing was reported above; closing would report it again
            file.close()
    return count


def shuffle_rows(path: Path, seed: int) -> None:
    """Shuffle the rows of a .npy file in the order that ``seed`` gives; at most 4096 rows are in memory at a time."""
    rows: Rows = np.load(path, mmap_mode="r", allow_pickle=False)
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = path.with_suffix(".shuffled")
    chunks = (order[i : i + CHUNK_ROWS] for i in range(0, len(order), CHUNK_ROWS))
    write_rows(shuffled, (row for chunk in chunks for row in rows[chunk]), rows.shape[1])
    with writing(path):
        shuffled.replace(path)


def count(rows: Rows, weights: npt.NDArray[np.int32], bos: int) -> tuple[int, int]:
    """Return the number of bytes of text that ``rows`` encode, and the number of BOS tokens in ``rows``.

    ``rows`` is uint16 ``[count, width]``; ``weights`` is int32 ``[vocab_size]``, the number of bytes of each token.
    """
    text_bytes = begins = 0
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = rows[start : start + CHUNK_ROWS]
        text_bytes += int(weights[chunk].sum(dtype=np.int64))
        begins += int((chunk == bos).sum())
    return text_bytes, begins


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file and wait until it is on disk.  Raises CorpusError."""
    with writing(path), path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _header(count: int, width: int) -> bytes:
    """Return the header of a .npy file, version 1.0, for uint16 ``[count, width]``, padded to HEADER_BYTES."""
    text = f"{{'descr': '<u2', 'fortran_order': False, 'shape': ({count}, {width}), }}"
    length = HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1).encode("ascii") + b"\n"
