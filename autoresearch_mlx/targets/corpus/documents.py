"""Read documents, in batches, from files of plain text, Python source, JSON lines or parquet.

A batch is a list of at most 128 texts.  Upstream's packer also reads 128 texts at a time, so a shard gives the same
rows in both programs.
"""

from __future__ import annotations

import json
import tokenize
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from autoresearch_mlx.errors import CorpusError

Batches: TypeAlias = Iterator[list[str]]
Skip: TypeAlias = Callable[[Path], None]
"""Function that receives each file that is left out because it is not text."""

BATCH = 128
SUFFIXES = (".txt", ".md", ".py", ".jsonl", ".parquet")


def texts(path: Path, skip: Skip) -> Iterator[str]:
    """Yield the documents of one file.  Raises CorpusError, which names the file."""
    if path.suffix == ".parquet":
        for batch in parquet(path):
            yield from batch
    elif path.suffix == ".jsonl":
        yield from _jsonl(path)
    else:
        text = _plain(path)
        if text is None:
            skip(path)
        elif text:
            yield text


def batched(documents: Iterable[str]) -> Batches:
    """Group documents into batches."""
    iterator = iter(documents)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def chapters(text: str, limit: int) -> Iterator[str]:
    """Cut a text into pieces of at most ``limit`` characters, at the ends of lines if possible."""
    start = 0
    while len(text) - start > limit:
        end = text.rfind("\n", start, start + limit) + 1
        end = end if end > start else start + limit
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def parquet(path: Path, first: int = 0, last: int | None = None) -> Batches:
    """Yield the column ``text`` of rows ``first`` to ``last`` (exclusive), with one row group in memory at a time.

    Raises CorpusError if the file is not a readable parquet file, or has no column ``text`` of strings.
    """
    file = _open_parquet(path)
    try:
        end = 0
        for group in range(file.num_row_groups):
            begin, end = end, end + file.metadata.row_group(group).num_rows
            if end <= first or (last is not None and begin >= last):
                continue
            column = file.read_row_group(group, columns=["text"]).column("text").to_pylist()
            wanted = column[max(0, first - begin) : None if last is None else last - begin]
            yield from batched(text for text in wanted if text)
    except (OSError, ValueError) as error:  # pyarrow raises only these two types
        raise CorpusError(f"cannot read {path}: {_line(error)}", _broken(path)) from error
    finally:
        file.close()


def check_parquet(path: Path) -> None:
    """Raise CorpusError unless ``path`` is a parquet file with a column ``text`` of strings."""
    _open_parquet(path).close()


def _open_parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} is not a whole parquet file: {_line(error)}", _broken(path)) from error
    schema = file.schema_arrow
    if "text" not in schema.names:
        file.close()
        raise CorpusError(
            f"{path} has no column `text`; its columns are: {', '.join(schema.names) or 'none'}",
            "Rename the column that holds the text to `text`, or remove the file.",
        )
    kind = schema.field("text").type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        file.close()
        raise CorpusError(
            f"column `text` of {path} holds {kind}, not strings", "Convert the column, or remove the file."
        )
    return file


def _jsonl(path: Path) -> Iterator[str]:
    with _reading(path), path.open("rb") as file:
        for number, line in enumerate(file, 1):  # read as bytes, so that invalid UTF-8 is reported with its line
            if not line.strip():
                continue
            try:
                text = json.loads(line)["text"]
                text.encode("utf-8")
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise CorpusError(
                    f'{path}, line {number}: not a JSON object with a string "text": {_line(error)}',
                    "Correct the line, or remove the file.",
                ) from error
            if text:
                yield text


def _plain(path: Path) -> str | None:
    """Return the text of a file, or None if the file is not text in the encoding that it declares (UTF-8 by
    default)."""
    try:
        with _reading(path), _text_file(path) as file:
            text = file.read()
        text.encode("utf-8")
    except (UnicodeError, SyntaxError):
        return None
    return text


def _text_file(path: Path) -> TextIO:
    return tokenize.open(path) if path.suffix == ".py" else path.open(encoding="utf-8-sig")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror}", "Make the file readable, or remove it.") from error


def _broken(path: Path) -> str:
    return f"Delete {path.name}; if it was downloaded, the same command fetches it again."


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
