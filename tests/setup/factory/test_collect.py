"""Posts are read from files of every format, and a file that is no post does not stop the others."""

from __future__ import annotations

import json
import os
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.setup.factory.collect import Source, collect
from autoresearch_mlx.setup.factory.posts import LONGEST, Post

RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>t</title>
<item><title>{title}</title><link>https://made-up.example/1</link><author>Ann</author>
<pubDate>Mon, 01 Jun 2026 09:00:00 GMT</pubDate><description>{text}</description></item></channel></rss>"""


def one(path: Path) -> Source:
    (source,) = collect([path], [])
    return source


def written(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize(
    ("exported", "wanted"),
    [
        (
            {"kind": "Listing", "data": {"children": [{"kind": "t3", "data": {
                "title": "Servings", "selftext": "How do I scale?", "author": "ann", "permalink": "/r/x/1/",
                "created_utc": 1780000000}}]}},
            Post("Servings\n\nHow do I scale?", "/r/x/1/", "ann", "2026-05-28T20:26:40+00:00"),
        ),
        (
            {"hits": [{"objectID": "41", "author": "bob", "comment_text": "<p>It&#x27;s slow",
              "created_at": "2026-01-02"}]},
            Post("It's slow", "export.json#41", "bob", "2026-01-02"),
        ),
        (
            {"id": 7, "title": "T", "post_stream": {"posts": [
                {"id": 5, "username": "cid", "cooked": "<p>one</p><p>two</p>"}]}},
            Post("one\ntwo", "export.json#5", "cid"),
        ),
        (
            [{"html_url": "https://made-up.example/i/1", "user": {"login": "dee"}, "title": "Bug", "body": "It fails.",
              "labels": [{"name": "bug", "description": "Something is wrong"}], "created_at": "2026-02-03"}],
            Post("Bug\n\nIt fails.", "https://made-up.example/i/1", "dee", "2026-02-03"),
        ),
        (
            {"url": "https://made-up.example/t/9", "replies": [
                {"id": 3, "author": "[deleted]", "body": "me too, really"}]},
            Post("me too, really", "https://made-up.example/t/9#3"),
        ),
    ],
    ids=["reddit", "hacker news", "discourse", "github", "a thread with replies"],
)  # fmt: skip
def test_exports_of_forums(exported: object, wanted: Post, tmp_path: Path) -> None:
    assert one(written(tmp_path, "export.json", json.dumps(exported))).posts == [wanted]


def test_lines_at_the_top_of_a_text_are_facts(tmp_path: Path) -> None:
    text = "Author: Ann\nlink: https://made-up.example/a\nDate: 2026-05-01\n\nIt hurts.\nNote: always.\n"
    written(tmp_path, "a.md", text)
    written(tmp_path, "b.txt", "Nothing about the author: none\nat all.\n")
    assert one(tmp_path).posts == [
        Post("It hurts.\nNote: always.", "https://made-up.example/a", "Ann", "2026-05-01"),
        Post("Nothing about the author: none\nat all.", "b.txt"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        "h\u00f6lle und teufel".encode("utf-16"),
        "\ufeffh\u00f6lle und teufel".encode(),
        "h\u00f6lle und teufel".encode("latin-1"),
    ],
    ids=["utf-16", "utf-8 with a mark", "latin-1"],
)
def test_text_in_other_encodings_is_read(data: bytes, tmp_path: Path) -> None:
    assert one(written(tmp_path, "a.txt", data)).posts[0].text == "h\u00f6lle und teufel"


def test_what_is_no_post_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    written(tmp_path, "a.bin", bytes(range(256)) * 10)
    written(tmp_path, "b.json", '{"text": ')
    written(tmp_path, "c.json", "[" * 100_000)
    written(tmp_path, "d.txt", "")
    written(tmp_path, "e.txt", "?!\n")
    written(tmp_path, ".hidden", "not for you")
    written(tmp_path, "f.jsonl", b'{"text": "the only post"}\n{broken\n7\n\xff\xfe\xfd\n\n{"text": null}\n')
    os.mkfifo(tmp_path / "g.txt")
    (tmp_path / "h.txt").symlink_to("/etc/hosts")
    source = one(tmp_path)
    assert [post.text for post in source.posts] == ["the only post"]
    assert source.skipped == {
        "not text": 1,
        "not JSON": 2,
        "empty": 1,
        "no words in it": 1,
        "a line that is not JSON": 3,
        "a link, or not an ordinary file": 2,
    }


def test_a_folder_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    written(tmp_path, "a.txt", "the only post")
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):  # the path of the innermost folder is longer than a system allows
        os.mkdir("d" * 250, dir_fd=at)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    source = one(tmp_path)
    shutil.rmtree(tmp_path / ("d" * 250))
    assert (len(source.posts), source.skipped) == (1, {"cannot be read: File name too long": 1})


def test_a_post_is_bounded_and_has_no_control_codes_and_no_markup(tmp_path: Path) -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07<p>See <script>alert(1)</script><b>this</b></p>\u202e" + "x" * 100_000
    written(tmp_path, "a.jsonl", json.dumps({"text": hostile, "author": "A\nB\x1b[31m", "url": "u" * 5000}) + "\n")
    (post,) = one(tmp_path).posts
    assert post.text.startswith("See this") and len(post.text) <= LONGEST and post.text.replace("\n", " ").isprintable()
    assert post.author == "A B" and len(post.address) == 300


def test_a_feed_opens_no_file_and_no_address(tmp_path: Path) -> None:
    entity = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    text = RSS.format(title="secret &x;", text="&lt;p&gt;words&lt;/p&gt;").replace("?>", f"?>{entity}", 1)
    (post,) = one(written(tmp_path, "a.xml", text)).posts
    assert post == Post("secret\n\nwords", "https://made-up.example/1", "Ann", "Mon, 01 Jun 2026 09:00:00 GMT")


class Pages(BaseHTTPRequestHandler):
    """A server with a feed, with JSON, and with a page that is neither."""

    def do_GET(self) -> None:
        pages = {
            "/feed": RSS.format(title="Servings", text="It hurts."),
            "/export": json.dumps([{"text": "It hurts too.", "author": "Bob"}]),
            "/page": "<html><body>It works!</body></html>",
        }
        if (text := pages.get(self.path)) is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_addresses_are_fetched_and_a_server_that_has_no_posts_is_named() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        feed, export = collect([], [f"{url}/feed", f"{url}/export"])
        assert [each.text for each in (*feed.posts, *export.posts)] == ["Servings\n\nIt hurts.", "It hurts too."]
        assert export.posts[0].address == f"{url}/export"
        for path, said in (("/page", "the answer has no post in it"), ("/nothing", "the server answered 404")):
            with pytest.raises(LabError, match=said):
                collect([], [url + path])
        server.shutdown()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://127.0.0.1:9/feed", "http://[", "gopher://x"])
def test_an_address_that_gives_nothing_is_an_error_that_names_it(url: str) -> None:
    with pytest.raises(LabError, match="--fetch"):
        collect([], [url])


def test_a_path_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="does not exist"):
        collect([tmp_path / "nowhere"], [])
