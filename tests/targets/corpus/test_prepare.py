"""`prepare`: one request gives one corpus; errors leave nothing behind; a kill costs only time."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus.prepare import Request, default_cache, find, prepare
from autoresearch_mlx.targets.corpus.rows import SPLITS, verify


def of(folder: Path, **changes: object) -> Request:
    return dataclasses.replace(Request("folder", path=folder, vocab_size=300, seq_len=16), **changes)  # type: ignore[arg-type]


def test_a_folder_becomes_three_files_of_rows(stories, cache, say, said) -> None:
    corpus = prepare(of(stories), cache, say)
    manifest = corpus.manifest
    for split in SPLITS:
        rows = corpus.rows(split)
        assert rows.dtype == np.uint16 and rows.shape == (manifest.rows[split], 17)
        assert not rows.flags.writeable
        assert (rows[:, 0] == manifest.bos).all()
        assert int(rows.max()) < manifest.vocab_size == 300
        assert manifest.tokens[split] == rows.size
        assert manifest.bytes[split] == int(corpus.token_bytes()[rows].sum())
    assert manifest.rows["val"] >= 8 and manifest.rows["hidden"] >= 8
    assert 1.0 < manifest.bytes_per_token < 5.0
    assert corpus.folder.name.startswith("folder-stories-v300-t16-")
    assert any("training the tokenizer" in line for line in said)
    verify(corpus)


def test_almost_no_text_is_lost(stories, cache, say) -> None:
    manifest = prepare(of(stories), cache, say).manifest
    total = sum(path.stat().st_size for path in stories.iterdir())
    assert manifest.source_detail["text_bytes"] == total
    assert total - sum(manifest.bytes.values()) < 0.03 * total


def test_the_second_call_finds_what_the_first_built(stories, cache, say, said) -> None:
    assert find(of(stories), cache) is None
    first = prepare(of(stories), cache, say)
    said.clear()
    assert prepare(of(stories), cache, say) == first == find(of(stories), cache)
    assert said == []


def test_the_same_request_gives_the_same_bytes_anywhere(stories, tmp_path, say) -> None:
    one, two = (prepare(of(stories), tmp_path / name, say).manifest for name in ("one", "two"))
    assert one.sha256 == two.sha256
    assert one.name == two.name


def test_the_rows_asked_for_are_held_out_exactly(stories, cache, say) -> None:
    rows = prepare(of(stories, val_rows=33, hidden_rows=21), cache, say).manifest.rows
    assert (rows["val"], rows["hidden"]) == (33, 21)


def test_identical_documents_never_fall_into_two_splits(tmp_path, cache, say, make_story, texts) -> None:
    folder = tmp_path / "twice"
    folder.mkdir()
    records = [json.dumps({"text": make_story(number % 60, 8)}) for number in range(240)]
    (folder / "tales.jsonl").write_text("\n".join(records))
    corpus = prepare(of(folder, seq_len=128), cache, say)
    heads = {
        split: {text.split(".")[0] for text in texts(corpus, split) if text.startswith("Tale")} for split in SPLITS
    }
    assert heads["val"] and heads["hidden"]
    assert not heads["val"] & heads["hidden"]
    assert not (heads["val"] | heads["hidden"]) & heads["train"]


def test_one_single_long_file_still_gives_three_splits(tmp_path, cache, say, make_story) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "input.txt").write_text("".join(make_story(number) for number in range(100)))
    rows = prepare(of(folder), cache, say).manifest.rows
    assert min(rows.values()) >= 8


def test_special_tokens_in_a_text_do_not_become_bos(tmp_path, cache, say, make_story, texts) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for number in range(80):
        (folder / f"{number}.md").write_text("<|reserved_0|>" + make_story(number))
    corpus = prepare(of(folder, seq_len=32), cache, say)
    assert corpus.manifest.bytes_per_token > 1
    assert any("<|reserved_0|>" in text for text in texts(corpus, "train"))


def test_unreadable_text_is_left_out_and_said(stories, cache, say, said) -> None:
    (stories / "binary.txt").write_bytes(b"\xff\xfe\xfa")
    corpus = prepare(of(stories), cache, say)
    assert corpus.manifest.source_detail["skipped_files"] == 1
    assert any("files left out" in line and "1 (binary.txt)" in line for line in said)


@pytest.mark.parametrize("words", [2, 40])
def test_too_little_text_says_how_many_rows_it_fills(tmp_path, cache, say, words, make_story, leftovers) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "a.txt").write_text(make_story(1, words))
    with pytest.raises(CorpusError, match=r"small is too small: it fills \d+ of \d+ val rows of 16 tokens") as caught:
        prepare(of(folder, val_rows=64), cache, say)
    assert "Add text" in caught.value.hint
    assert leftovers(cache) == []


def test_a_folder_of_empty_files_holds_no_text(tmp_path, cache, say) -> None:
    folder = tmp_path / "blank"
    folder.mkdir()
    (folder / "a.txt").touch()
    with pytest.raises(CorpusError, match="blank holds no text"):
        prepare(of(folder), cache, say)


def test_a_bad_shard_in_a_folder_leaves_nothing_behind(stories, cache, say, make_shard, leftovers) -> None:
    shard = make_shard(stories / "z.parquet", ["some text"] * 300)
    shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(CorpusError, match=r"z\.parquet"):
        prepare(of(stories), cache, say)
    assert leftovers(cache) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vocab_size": 65_537}, "65,537"),
        ({"vocab_size": 259}, "259"),
        ({"seq_len": 1}, "seq_len 1"),
        ({"val_rows": 0}, "at least one row"),
        ({"source": "stdlb"}, "'stdlb'"),
        ({"path": None}, "path"),
    ],
)
def test_a_request_that_cannot_be_is_refused(stories, cache, say, changes, words) -> None:
    with pytest.raises(CorpusError, match=words):
        prepare(of(stories, **changes), cache, say)


@pytest.mark.uncounted  # a limit on file sizes damages the file of coverage counts
def test_a_full_disk_is_named_with_a_remedy_and_leaves_nothing_behind(stories, cache, leftovers) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from autoresearch_mlx.targets.corpus.prepare import Request, prepare\n"
        "from autoresearch_mlx.errors import CorpusError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)\n"
        "try: prepare(Request('folder', Path(sys.argv[1]), vocab_size=300, seq_len=16), Path(sys.argv[2]), print)\n"
        "except CorpusError as error: print('ERROR', error, '|', error.hint)\n"
    )
    for limit, file in ((2_000, "tokenizer.json"), (25_000, "train.npy")):
        command = [sys.executable, "-B", "-c", code, str(stories), str(cache), str(limit)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "ERROR cannot write" in output and file in output and "AUTORESEARCH_CACHE" in output
        assert leftovers(cache) == []


def test_a_cache_that_is_a_file_is_named(stories, tmp_path, say) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(CorpusError, match="cannot write") as caught:
        prepare(of(stories), tmp_path / "cache", say)
    assert "AUTORESEARCH_CACHE" in caught.value.hint


def test_what_a_killed_prepare_left_is_removed_by_the_next(stories, cache, say, said, leftovers) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from autoresearch_mlx.targets.corpus.prepare import Request, prepare\n"
        "def say(line):\n"
        "    print(line, flush=True)\n"
        "    if 'packing' in line: time.sleep(60)\n"
        "prepare(Request('folder', Path(sys.argv[1]), vocab_size=300, seq_len=16), Path(sys.argv[2]), say)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(stories), str(cache)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    while "packing" not in child.stdout.readline():
        assert child.poll() is None
    living = leftovers(cache)
    assert [name.startswith(".building-") for name in living] == [True]
    other = prepare(of(stories, seq_len=24), cache, say)  # a second prepare does not touch the folder of a running one
    assert living[0] in leftovers(cache)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    corpus = prepare(of(stories), cache, say)
    assert sorted(leftovers(cache)) == sorted([corpus.folder.name, other.folder.name])
    assert any("left by a command that was stopped" in line for line in said)
    verify(corpus)


def test_a_damaged_corpus_is_named_when_opened_and_built_again_when_prepared(stories, cache, say, said) -> None:
    corpus = prepare(of(stories), cache, say)
    (corpus.folder / "val.npy").write_bytes(b"short")
    with pytest.raises(CorpusError, match=r"val\.npy has 5 bytes, not") as caught:
        find(of(stories), cache)
    assert "autoresearch-mlx prepare folder" in caught.value.hint
    verify(prepare(of(stories), cache, say))
    assert any("preparing the corpus again" in line for line in said)


def test_rows_and_find_load_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; import autoresearch_mlx.targets.corpus.rows, autoresearch_mlx.targets.corpus.prepare\n"
        "print(sorted({'tokenizers', 'pyarrow', 'huggingface_hub', 'mlx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_cache_is_where_the_environment_says() -> None:
    code = "from autoresearch_mlx.targets.corpus.prepare import default_cache; print(default_cache())"
    environment = os.environ | {"AUTORESEARCH_CACHE": "/somewhere/else"}
    output = subprocess.run(
        [sys.executable, "-B", "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert output == "/somewhere/else\n"
    assert default_cache().is_absolute()
