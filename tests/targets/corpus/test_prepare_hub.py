"""`prepare` from the hub: which shards are fetched, how they are split, and what a bad shard costs."""

from __future__ import annotations

import dataclasses
import re

import pytest

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus import sources
from autoresearch_mlx.targets.corpus.prepare import Request, prepare
from autoresearch_mlx.targets.corpus.rows import SPLITS


def publish_climbmix(hub, make_shard, make_story, shards: int = 2) -> None:
    """Publish shards as upstream names them; 40 documents of the validation shard are in shard 0 as well."""
    repository = hub.root / sources.CLIMBMIX
    for number in range(shards):
        first = 1000 * number
        shared = [make_story(5000 + i) for i in range(40)] if number == 0 else []
        make_shard(repository / f"shard_{number:05d}.parquet", [make_story(first + i) for i in range(150)] + shared)
    make_shard(repository / "shard_06542.parquet", [make_story(5000 + i) for i in range(150)])
    make_shard(repository / "shard_06541.parquet", [make_story(6000 + i) for i in range(150)])


def test_climbmix_downloads_its_shards_and_holds_out_the_pinned_ones(
    hub, cache, say, make_shard, make_story, texts
) -> None:
    publish_climbmix(hub, make_shard, make_story)
    request = Request("climbmix", shards=2, vocab_size=300, seq_len=32, val_rows=20, hidden_rows=10)
    corpus = prepare(request, cache, say, hub.endpoint)
    names = [f"shard_{number:05d}.parquet" for number in (6542, 6541, 0, 1)]
    assert hub.files() == names
    assert (corpus.manifest.rows["val"], corpus.manifest.rows["hidden"]) == (20, 10)
    assert "as upstream" in corpus.manifest.packing
    assert list(corpus.manifest.source_detail["etags"]) == names
    tales = {
        split: {int(found) for found in re.findall(r"Tale (\d+)\.", "".join(texts(corpus, split)))} for split in SPLITS
    }
    assert tales["val"] and tales["val"] <= set(range(5000, 5150))
    assert tales["hidden"] and tales["hidden"] <= set(range(6000, 6150))
    # Documents of shard 0 that are also in validation are left out.
    assert tales["train"] == set(range(150)) | set(range(1000, 1150))


def test_climbmix_val_rows_do_not_depend_on_how_many_are_asked_for(hub, cache, say, make_shard, make_story) -> None:
    publish_climbmix(hub, make_shard, make_story)
    request = Request("climbmix", shards=1, vocab_size=300, seq_len=32, val_rows=10, hidden_rows=8)
    few = prepare(request, cache, say, hub.endpoint)
    many = prepare(dataclasses.replace(request, val_rows=30), cache, say, hub.endpoint)
    assert (many.rows("val")[:10] == few.rows("val")).all()


def test_more_climbmix_shards_fetch_only_what_is_missing(hub, cache, say, make_shard, make_story) -> None:
    publish_climbmix(hub, make_shard, make_story)
    request = Request("climbmix", shards=1, vocab_size=300, seq_len=32, val_rows=10, hidden_rows=8)
    prepare(request, cache, say, hub.endpoint)
    hub.asked.clear()
    prepare(dataclasses.replace(request, shards=2), cache, say, hub.endpoint)
    assert hub.files() == ["shard_00001.parquet"]


@pytest.mark.parametrize("shards", [0, 6542])
def test_climbmix_never_trains_on_a_held_out_shard(cache, say, shards) -> None:
    with pytest.raises(CorpusError, match=f"{shards} training shards"):
        prepare(Request("climbmix", shards=shards), cache, say)


@pytest.mark.parametrize("damage", ["page of html", "no text column"])
def test_a_download_that_is_no_shard_is_removed_and_named(
    hub, cache, say, make_shard, make_story, damage, leftovers
) -> None:
    publish_climbmix(hub, make_shard, make_story)
    path = hub.root / sources.CLIMBMIX / "shard_00000.parquet"
    if damage == "page of html":
        path.write_text("<html>moved</html>")
    else:
        make_shard(path, ["x"], column="body")
    with pytest.raises(CorpusError, match=r"shard_00000\.parquet .*has been removed"):
        prepare(Request("climbmix", shards=1, vocab_size=300, seq_len=32), cache, say, hub.endpoint)
    kept = {each.name for each in (cache / "downloads").rglob("*.parquet")}
    assert kept == {"shard_06542.parquet", "shard_06541.parquet"}
    assert leftovers(cache) == []


def test_tinystories_is_split_by_row_as_its_card_says(hub, cache, say, make_shard, texts) -> None:
    rows = [f"Story {number}." for number in range(20_600)]
    make_shard(hub.root / sources.TINYSTORIES / sources.TINYSTORIES_FILE, rows, group=4_000)
    request = Request("tinystories", vocab_size=280, seq_len=16, val_rows=20, hidden_rows=20)
    corpus = prepare(request, cache, say, hub.endpoint)
    numbers = {
        split: [int(text[6:-1]) for text in texts(corpus, split) if text.startswith("Story ") and text.endswith(".")]
        for split in SPLITS
    }
    assert min(numbers["hidden"]) >= 0 and max(numbers["hidden"]) < 10_000
    assert min(numbers["val"]) >= 10_000 and max(numbers["val"]) < 20_000
    assert min(numbers["train"]) >= 20_000


def test_offline_says_so_and_leaves_nothing_behind(cache, say, leftovers) -> None:
    with pytest.raises(CorpusError) as caught:
        prepare(Request("climbmix"), cache, say, "http://127.0.0.1:9")
    assert "prepare stdlib" in caught.value.hint
    assert leftovers(cache) == []
