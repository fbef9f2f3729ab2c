"""Find posts in JSON that programs such as Reddit, Hacker News, Discourse and GitHub export.

Every object that has a text is read as a post, whose fields have the names that these programs use.  The values of
every object are searched for further posts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from autoresearch_mlx.setup.factory.posts import Post, post

_TEXTS = ("text", "body", "selftext", "comment_text", "story_text", "cooked", "raw", "content", "message")
_AUTHORS = ("author", "username", "user", "by", "author_name", "login", "name", "from")
_ADDRESSES = ("html_url", "url", "permalink", "link", "address", "web_url")
_DATES = ("date", "created_at", "created_utc", "published", "time", "timestamp", "updated_at")
_IDS = ("id", "objectID", "post_number", "number")
_TITLES = ("title", "subject", "story_title")
_DEEPEST = 60


def posts_in(value: Any, where: str) -> Iterator[Post | None]:
    """Yield the posts in a JSON value, and None for each object whose text has no words.

    A post without an address of its own gets ``where``, the address of the file.
    """
    yield from _walk(value, where, "", 0)


def _walk(value: Any, where: str, above: str, depth: int) -> Iterator[Post | None]:
    """Yield the posts in one value.

    ``above`` is the address of the thread that contains the value; it is empty if unknown.
    """
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for each in value:
            yield from _walk(each, where, above, depth + 1)
    elif isinstance(value, dict):
        address = _first(value, _ADDRESSES)
        text = _first(value, _TEXTS)
        title = _first(value, _TITLES)
        if text or (title and (address or _author(value))):
            yield post(text or title, _address(value, where, above), _author(value), _date(value), title)
        for name, inner in value.items():
            if isinstance(inner, list | dict) and name not in _AUTHORS:
                yield from _walk(inner, where, address or above, depth + 1)


def _first(value: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((found for name in names if isinstance(found := value.get(name), str) and found.strip()), "")


def _address(value: Mapping[str, Any], where: str, above: str) -> str:
    """Return the post's own address, else the address of its thread or of the file, with the post's number if known."""
    if own := _first(value, _ADDRESSES):
        return own
    number = next((str(value[name]) for name in _IDS if isinstance(value.get(name), str | int)), "")
    thread = above or where
    return f"{thread}#{number}" if number else thread


def _author(value: Mapping[str, Any]) -> str:
    for name in _AUTHORS:
        found = value.get(name)
        if isinstance(found, dict):
            found = _first(found, ("login", "username", "name", "email"))
        if isinstance(found, str) and found.strip():
            return found.strip()
    return ""


def _date(value: Mapping[str, Any]) -> str:
    for name in _DATES:
        found = value.get(name)
        if isinstance(found, str) and found.strip():
            return found.strip()
        if isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < 4e9:
            return datetime.fromtimestamp(found, UTC).isoformat(timespec="seconds")
    return ""
