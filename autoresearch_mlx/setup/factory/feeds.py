"""Read RSS and Atom feeds from files and, if the user asks for it, from the network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.setup.factory.posts import Post, post

EXTRA = "`pip install 'autoresearch-mlx[factory]'` adds the library that reads feeds"
_SECONDS = 30.0
MOST_BYTES = 20 * 2**20


def is_feed(head: bytes) -> bool:
    """Return whether ``head``, the first bytes of a file, is the beginning of an RSS or Atom feed."""
    start = head[:2000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith(b"<") and any(mark in start for mark in (b"<rss", b"<feed", b"<rdf:rdf"))


def posts_in_feed(data: bytes, where: str) -> Iterator[Post | None]:
    """Yield the posts of a feed, and None for each entry without text.

    Raises LabError if the library that reads feeds is not installed.
    """
    try:
        import feedparser
    except ImportError:
        raise LabError(f"{where} is a feed, and the library that reads feeds is not installed", EXTRA) from None
    # The library gets an open file and not the text, because it would fetch a text that looks like an address.
    found: Any = feedparser.parse(io.BytesIO(data))
    for entry in found.get("entries", ()):
        parts = [str(part.get("value", "")) for part in entry.get("content", ())]
        text = max([*parts, str(entry.get("summary", ""))], key=len)
        address = str(entry.get("link") or entry.get("id") or where)
        date = str(entry.get("published") or entry.get("updated") or "")
        yield post(text, address, str(entry.get("author", "")), date, str(entry.get("title", "")))


def fetched(url: str) -> bytes:
    """Fetch a web address and return the body of the server's answer.

    Raises LabError if the server does not answer with status 200, or if the body is longer than ``MOST_BYTES``.
    """
    import httpx2

    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https"):
        raise LabError(f"--fetch {url}: this is not a web address", "an address looks like https://host/feed.xml")
    try:
        with httpx2.stream("GET", url, timeout=_SECONDS, follow_redirects=True) as answer:
            if answer.status_code != 200:
                raise LabError(
                    f"--fetch {url}: the server answered {answer.status_code}", "open the address in a browser"
                )
            data = b""
            for part in answer.iter_bytes():
                data += part
                if len(data) > MOST_BYTES:
                    raise LabError(
                        f"--fetch {url}: the answer is longer than {MOST_BYTES >> 20} MB",
                        "download the file, shorten it, and give it with --posts",
                    )
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise LabError(f"--fetch {url}: {type(error).__name__}: {error}", "check the address") from None
    return data
