"""Read the posts that the user supplies: as folders, texts, JSON, JSON lines, feeds or exports of forums.

A file that cannot be read is skipped, and counted under the reason; the other files are still read.  Symbolic links
are not followed.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.setup.factory.exports import posts_in
from autoresearch_mlx.setup.factory.feeds import fetched, is_feed, posts_in_feed
from autoresearch_mlx.setup.factory.posts import Post, post

MOST_BYTES = 2**28
"""Largest size in bytes of a file that is read as a whole, and of a line in a file of JSON lines."""
MOST_POSTS = 200_000
_HEAD = re.compile(r"^(author|from|by|date|url|link|address|title|subject)\s*:\s*(.+)$", re.IGNORECASE)
_NAMES = {"from": "author", "by": "author", "link": "url", "address": "url", "subject": "title"}
_LINES = (".jsonl", ".ndjson")


@dataclass(slots=True)
class Source:
    """A source of posts (a path or an address), and the posts that were found in it."""

    name: str
    posts: list[Post] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    """Number of files or entries that gave no post, by reason."""

    def take(self, found: Iterator[Post | None]) -> None:
        for each in found:
            if each is None:
                self.skipped["no words in it"] += 1
            elif len(self.posts) >= MOST_POSTS:
                self.skipped[f"more than {MOST_POSTS:,} posts"] += 1
            else:
                self.posts.append(each)

    def unread(self, error: OSError) -> None:
        """Count a file or folder that cannot be read."""
        self.skipped[f"cannot be read: {error.strerror}"] += 1

    def told(self) -> dict[str, Any]:
        """Return the source in the form of the ledger's event."""
        return {"source": self.name, "posts": len(self.posts), "skipped": dict(self.skipped)}


def collect(paths: Sequence[Path], urls: Sequence[str]) -> list[Source]:
    """Read the posts of files, folders and web addresses; return one source for each.

    Raises LabError for a path that does not exist, and for an address without posts.
    """
    return [*map(_from_path, paths), *map(_from_url, urls)]


def _from_url(url: str) -> Source:
    source, data = Source(url), fetched(url)
    if is_feed(data):
        source.take(posts_in_feed(data, url))
    else:
        _read_json(source, data, url)
    if not source.posts:
        raise LabError(f"--fetch {url}: the answer has no post in it", "give the address of a feed, or of JSON")
    return source


def _from_path(path: Path) -> Source:
    if not path.exists():
        raise LabError(f"there are no posts: {path} does not exist", "name a file or a folder with --posts")
    source = Source(str(path))
    path = path.resolve()
    for file in _files(path, source):
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        try:
            _read_file(source, file, name)
        except OSError as error:
            source.unread(error)
    return source


def _files(path: Path, source: Source) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders, in the order of their names; hidden files are left out.

    If the path is a file, yield only this file.
    """
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path, onerror=source.unread):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))


def _read_file(source: Source, file: Path, name: str) -> None:
    found = file.lstat()
    if not stat.S_ISREG(found.st_mode):
        source.skipped["a link, or not an ordinary file"] += 1
        return
    if not found.st_size:
        source.skipped["empty"] += 1
        return
    if file.suffix.lower() in _LINES:
        source.take(_from_lines(source, file, name))
        return
    if found.st_size > MOST_BYTES:
        source.skipped[f"longer than {MOST_BYTES >> 20} MB"] += 1
        return
    data = file.read_bytes()
    if is_feed(data):
        source.take(posts_in_feed(data, name))
    elif file.suffix.lower() == ".json":
        _read_json(source, data, name)
    elif (text := _text(data)) is None:
        source.skipped["not text"] += 1
    else:
        source.take(iter([_from_text(text, name)]))


def _read_json(source: Source, data: bytes, name: str) -> None:
    text = _text(data)
    try:
        value = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        value = None
    if value is None:
        source.skipped["not JSON"] += 1
        return
    source.take(posts_in(value, name))


def _from_lines(source: Source, file: Path, name: str) -> Iterator[Post | None]:
    with file.open("rb") as lines:
        while line := lines.readline(MOST_BYTES):
            if not line.strip():
                continue
            text = _text(line)
            try:
                value = json.loads(text) if text is not None else None
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, list | dict):
                source.skipped["a line that is not JSON"] += 1
                continue
            yield from posts_in(value, name)


def _text(data: bytes) -> str | None:
    """Return bytes as text; None if they are not text."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data[:65536]:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        bad = data.decode("utf-8", errors="replace").count("\ufffd")
    return data.decode("cp1252", errors="replace") if bad <= 0.05 * len(data) + 1 else None


def _from_text(text: str, name: str) -> Post | None:
    """Return the post in a text file.

    Lines such as ``author: Ann`` at the top name the author, the address and the date.
    """
    lines, facts = text.splitlines(), dict[str, str]()
    for number, line in enumerate(lines):
        found = _HEAD.match(line.strip())
        if found is None:
            rest = lines[number:] if facts else lines
            break
        key = found[1].lower()
        facts.setdefault(_NAMES.get(key, key), found[2].strip())
    else:
        rest = []
    return post(
        "\n".join(rest), facts.get("url", name), facts.get("author", ""), facts.get("date", ""), facts.get("title", "")
    )
