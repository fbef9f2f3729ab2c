"""Real input to prepare: text files, parquet shards, and an HTTP server with the hub's `resolve` route."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autoresearch_mlx.targets.corpus import tokenizer as bpe
from autoresearch_mlx.targets.corpus.rows import Corpus, Split

WORDS = tuple(
    "the a small old river stone lamp fox moon garden walks sings finds keeps under over near bright".split()  # noqa: SIM905
)


def story(number: int, words: int = 60) -> str:
    """Return a few sentences; the same number gives the same text, and no two numbers give the same."""
    choose = random.Random(number)
    return f"Tale {number}. " + " ".join(choose.choice(WORDS) for _ in range(words)) + ".\n"


def write_shard(path: Path, texts: list[str], column: str = "text", group: int = 50) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({column: texts}), path, row_group_size=group)
    return path


@dataclass
class Hub:
    """A hub that serves ``root/<owner>/<dataset>/<file>``, and hangs up once after each number of bytes in ``cut``."""

    root: Path
    cut: list[int] = field(default_factory=list)
    pause: float = 0.0
    deaf: bool = False
    """Whether the hub ignores Range and sends the whole file, as some caches do."""
    announce: dict[str, str] = field(default_factory=dict)
    """SHA-256 to announce for a file instead of the true one."""
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    endpoint: str = ""

    def files(self, method: str = "GET") -> list[str]:
        return [name for how, name, _ in self.asked if how == method]

    def ranges(self) -> list[str | None]:
        return [given for how, _, given in self.asked if how == "GET"]


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            owner, dataset, name = self.path.removeprefix("/datasets/").replace("/resolve/main", "").split("/")
            given = self.headers.get("Range")
            hub.asked.append((self.command, name, given))
            given = None if hub.deaf else given
            path = hub.root / owner / dataset / name
            if not path.exists():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = path.read_bytes()
            start = int(given.removeprefix("bytes=").rstrip("-")) if given else 0
            digest = hub.announce.get(name) or hashlib.sha256(data).hexdigest()
            self.send_response(206 if given else 200)
            self.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
            self.send_header("X-Linked-Etag", f'"{digest}"')
            self.send_header("X-Linked-Size", str(len(data)))
            self.send_header("ETag", f'"{digest}"')
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            if body:
                self.send(data[start:])

        def send(self, data: bytes) -> None:
            if hub.cut:
                data = data[: hub.cut.pop(0)]
                self.close_connection = True
            for begin in range(0, len(data), 4096):
                self.wfile.write(data[begin : begin + 4096])
                time.sleep(hub.pause)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path / "hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def stories(tmp_path: Path) -> Path:
    """Make a folder of 120 short texts, about 40 KB."""
    folder = tmp_path / "stories"
    folder.mkdir()
    for number in range(120):
        (folder / f"{number:03d}.txt").write_text(story(number), encoding="utf-8")
    return folder


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def say(said: list[str]) -> Callable[[str], None]:
    return said.append


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def make_story() -> Callable[..., str]:
    return story


@pytest.fixture
def make_shard() -> Callable[..., Path]:
    return write_shard


def decoded(corpus: Corpus, split: Split) -> list[str]:
    """Return the documents, and the parts of documents, that begin in a split."""
    tokenizer = bpe.load(corpus.folder / "tokenizer.json")
    tokens = corpus.rows(split).reshape(-1)
    starts = np.flatnonzero(tokens == corpus.manifest.bos)
    return [tokenizer.decode(part[1:].tolist()) for part in np.split(tokens, starts)[1:]]


def prepared(cache: Path) -> list[str]:
    """Return the names in the folder where corpora are built."""
    return [each.name for each in (cache / "corpora").iterdir()] if (cache / "corpora").exists() else []


@pytest.fixture
def texts() -> Callable[[Corpus, Split], list[str]]:
    return decoded


@pytest.fixture
def leftovers() -> Callable[[Path], list[str]]:
    return prepared
