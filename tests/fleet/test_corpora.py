"""A corpus that a machine lacks is sent to it, and is used only if every file equals the coordinator's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_training as tiny

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.fleet.corpora import PART_BYTES, Ask, corpora_in, digest_of, fetch, offer_from, offered, part_of
from autoresearch_mlx.targets.corpus.prepare import find_by_hash
from autoresearch_mlx.targets.corpus.rows import Corpus


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache with one small corpus."""
    cache = tmp_path_factory.mktemp("sender")
    tiny.corpus(cache)
    return cache


def corpus_of(cache: Path) -> Corpus:
    (folder,) = corpora_in(cache).values()
    found = find_by_hash(json.loads((folder / "manifest.json").read_text())["sha256"], cache)
    assert found is not None
    return found


def offer(sender: Path) -> dict[str, Any]:
    return offered(digest_of(corpus_of(sender).manifest.sha256), sender)


def asking(sender: Path, change: Callable[[str, bytes], bytes] = lambda name, part: part) -> Ask:
    async def ask(name: str, at: int) -> bytes:
        return change(name, part_of(offer(sender)["digest"], name, at, sender))

    return ask


def fetched(values: dict[str, Any], ask: Ask, cache: Path) -> None:
    work: Awaitable[None] = fetch(offer_from(values), ask, cache)
    asyncio.run(asyncio.wait_for(work, 60))


def test_a_corpus_that_was_sent_is_found_by_its_hashes(sender: Path, tmp_path: Path) -> None:
    fetched(offer(sender), asking(sender), tmp_path)
    here, there = corpus_of(tmp_path), corpus_of(sender)
    assert here.manifest == there.manifest and (here.rows("val") == there.rows("val")).all()


def test_a_corpus_of_the_same_name_stays(sender: Path, tmp_path: Path) -> None:
    other = tmp_path / "corpora" / offer(sender)["name"]
    other.mkdir(parents=True)
    (other / "manifest.json").write_text("{}")
    fetched(offer(sender), asking(sender), tmp_path)
    assert corpus_of(tmp_path).folder.name == f"{offer(sender)['name']}-{offer(sender)['digest']}"
    assert (other / "manifest.json").read_text() == "{}"


def test_two_machines_that_share_a_cache_fetch_it_at_the_same_time(sender: Path, tmp_path: Path) -> None:
    inner = asking(sender)

    async def ask(name: str, at: int) -> bytes:
        if not corpora_in(tmp_path):  # the other one is faster
            await fetch(offer_from(offer(sender)), inner, tmp_path / "other")
            (tmp_path / "other" / "corpora").rename(tmp_path / "kept")
            (next((tmp_path / "kept").iterdir())).rename(tmp_path / "corpora" / offer(sender)["name"])
        return await inner(name, at)

    fetched(offer(sender), ask, tmp_path)
    assert len(list((tmp_path / "corpora").iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda name, part: part[:-1] + b"x" if name == "val.npy" else part, "SHA-256"),
        (lambda name, part: part + b"x", "wrong size"),
        (lambda name, part: b"", "wrong size"),
        (lambda name, part: part.replace(b'"sha256"', b'"sha255"'), "lacks sha256"),
        (
            lambda name, part: part.replace(b'"vocab_size"', b'"vocab_size') if name == "manifest.json" else part,
            "not JSON",
        ),
    ],
    ids=["a changed row", "too long", "nothing", "no hashes", "no JSON"],
)
def test_wrong_content_is_refused_and_leaves_nothing(
    sender: Path, tmp_path: Path, change: Callable[[str, bytes], bytes], said: str
) -> None:
    with pytest.raises(CorpusError, match=said):
        fetched(offer(sender), asking(sender, change), tmp_path)
    assert list((tmp_path / "corpora").iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../etc"},
        {"name": ".hidden"},
        {"name": "a" * 200},
        {"files": {}},
        {"files": {"../x": 1}},
        {"files": None},
    ],
)
def test_an_offer_that_climbs_or_has_other_files_is_refused(sender: Path, change: dict[str, Any]) -> None:
    with pytest.raises(CorpusError):
        offer_from({**offer(sender), **change})


@pytest.mark.parametrize("size", [10**12, -1, "much", None])
def test_an_offer_of_an_impossible_size_is_refused(sender: Path, size: Any) -> None:
    values = offer(sender)
    with pytest.raises(CorpusError):
        offer_from({**values, "files": {**values["files"], "train.npy": size}})


def test_only_the_files_of_a_corpus_are_sent(sender: Path) -> None:
    (sender / "secret").write_text("secret")
    digest = offer(sender)["digest"]
    for name in ("../../secret", "/etc/passwd", "secret", ""):
        assert part_of(digest, name, 0, sender) == b""
    assert part_of("0" * 12, "val.npy", 0, sender) == part_of(digest, "val.npy", -5, sender) == b""
    assert 0 < len(part_of(digest, "val.npy", 0, sender)) <= PART_BYTES
    assert offered("0" * 12, sender) == {}


def test_what_a_killed_process_has_left_of_a_fetch_is_removed_by_the_next_fetch(sender: Path, tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    corpora = tmp_path / "corpora"
    for pid in (ended.pid, os.getppid()):
        (corpora / f".building-half-{pid}").mkdir(parents=True)
        (corpora / f".building-half-{pid}" / "train.npy").write_bytes(b"half")
    fetched(offer(sender), asking(sender), tmp_path)
    left = {folder.name for folder in corpora.iterdir()}
    assert left == {offer(sender)["name"], f".building-half-{os.getppid()}"}, "a living process may still need its own"


def test_a_connection_that_is_lost_is_not_taken_for_a_disk_that_cannot_be_written(sender: Path, tmp_path: Path) -> None:
    async def ask(name: str, at: int) -> bytes:
        raise ConnectionResetError("the other side is gone")

    with pytest.raises(ConnectionResetError):
        fetched(offer(sender), ask, tmp_path)
    assert list((tmp_path / "corpora").iterdir()) == []
