"""What counts as a document, which files are read, and the messages for those that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus import sources, stdlib
from autoresearch_mlx.targets.corpus.documents import chapters, parquet, texts


def read(path: Path) -> list[str]:
    return list(texts(path, lambda skipped: None))


def test_each_kind_of_file_gives_its_documents(tmp_path: Path, make_shard: Callable[..., Path]) -> None:
    (tmp_path / "a.txt").write_text("plain", encoding="utf-8")
    (tmp_path / "b.py").write_bytes("# -*- coding: latin-1 -*-\n# café\n".encode("latin-1"))
    (tmp_path / "c.jsonl").write_text('{"text": "one"}\n\n{"text": "two", "id": 2}\n', encoding="utf-8")
    make_shard(tmp_path / "d.parquet", ["three", "four"])
    (tmp_path / "e.bin").write_bytes(b"\xff\xff")
    files = sources.folder_files(tmp_path)
    assert [file.name for file in files] == ["a.txt", "b.py", "c.jsonl", "d.parquet"]
    assert [text for file in files for text in read(file)] == [
        *("plain", "# -*- coding: latin-1 -*-\n# café\n", "one", "two", "three", "four")
    ]


def test_hidden_files_and_links_to_nowhere_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "note.md").write_text("internal")
    (tmp_path / ".env.txt").write_text("secret")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "kept.md").write_text("kept")
    assert [file.name for file in sources.folder_files(tmp_path)] == ["kept.md"]


def test_a_file_that_is_no_text_is_skipped_and_reported(tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00broken")
    skipped: list[Path] = []
    assert list(texts(tmp_path / "binary.txt", skipped.append)) == []
    assert skipped == [tmp_path / "binary.txt"]


@pytest.mark.parametrize(
    "line", ["not json", '{"body": "x"}', '{"text": 3}', '["text"]', '{"text": "\\ud800"}', b"\xff"]
)
def test_a_bad_json_line_is_named_by_file_and_number(tmp_path: Path, line: str | bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "fine"}\n' + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    with pytest.raises(CorpusError, match=r"x\.jsonl, line 2"):
        read(path)


def test_a_shard_without_a_text_column_is_named_with_the_columns_it_has(
    tmp_path: Path, make_shard: Callable[..., Path]
) -> None:
    with pytest.raises(CorpusError, match=r"x\.parquet has no column `text`; its columns are: body") as caught:
        read(make_shard(tmp_path / "x.parquet", ["a"], column="body"))
    assert "Rename" in caught.value.hint


def test_a_text_column_of_numbers_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "x.parquet")
    with pytest.raises(CorpusError, match="holds int64, not strings"):
        read(tmp_path / "x.parquet")


@pytest.mark.parametrize("damage", ["truncated", "not parquet", "empty"])
def test_a_shard_that_is_not_whole_is_named(tmp_path: Path, make_shard: Callable[..., Path], damage: str) -> None:
    path = make_shard(tmp_path / "x.parquet", ["some text"] * 500)
    data = path.read_bytes()
    path.write_bytes(
        {"truncated": data[: len(data) // 2], "not parquet": b"<html>not found</html>", "empty": b""}[damage]
    )
    with pytest.raises(CorpusError, match=r"x\.parquet is not a whole parquet file"):
        read(path)


def test_a_shard_with_damaged_pages_is_named(tmp_path: Path, make_shard: Callable[..., Path]) -> None:
    path = make_shard(tmp_path / "x.parquet", [f"text {i}" for i in range(500)], group=500)
    data = bytearray(path.read_bytes())
    data[4:400] = b"\xff" * 396  # the footer stays readable
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=r"cannot read .*x\.parquet"):
        read(path)


def test_a_range_of_parquet_rows_crosses_row_groups(tmp_path: Path, make_shard: Callable[..., Path]) -> None:
    path = make_shard(tmp_path / "x.parquet", [str(i) for i in range(1, 31)], group=7)
    assert [text for batch in parquet(path, 5, 16) for text in batch] == [str(i) for i in range(6, 17)]
    assert [text for batch in parquet(path, 28) for text in batch] == ["29", "30"]


def test_a_long_text_is_cut_after_line_ends_and_nothing_is_lost() -> None:
    text = "line one\nline two\n" + "x" * 50 + "\nend"
    pieces = list(chapters(text, 20))
    assert "".join(pieces) == text
    assert pieces[0] == "line one\nline two\n"
    assert max(map(len, pieces)) <= 20


@pytest.mark.parametrize("make", [lambda p: p / "absent", lambda p: p / "file.txt", lambda p: p])
def test_a_folder_without_text_is_an_error_with_its_name(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    if make(folder) != folder:
        (folder / "file.txt").write_text("x")
    with pytest.raises(CorpusError, match=str(make(folder))) as caught:
        sources.folder_files(make(folder))
    assert "autoresearch-mlx prepare" in caught.value.hint


def test_the_standard_library_is_read_without_installed_packages() -> None:
    files = stdlib.source_files()
    assert len(files) > 400
    assert files == sorted(files)
    assert not any(stdlib.INSTALLED & set(file.parts) for file in files)


def test_the_standard_library_comes_in_batches_of_text() -> None:
    pool = sources.standard_library(lambda line: None, seq_len=256)
    batch = next(pool.text(lambda skipped: None))
    assert len(batch) == 128 and all(batch)
    assert max(map(len, batch)) <= 256 * sources.CHAPTER_CHARS_PER_TOKEN
    assert pool.detail["files"] > 400


def test_modules_written_in_c_are_present_by_their_documentation() -> None:
    texts = list(stdlib.docstrings())
    assert texts == list(stdlib.docstrings())
    assert any("math.hypot" in text for text in texts)
    assert not any(" at 0x" in text for text in texts)


def test_a_fingerprint_follows_the_content_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "one"}))
    before = sources.fingerprint("folder", tmp_path, 10)
    assert sources.fingerprint("folder", tmp_path, 10) == before
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "three"}))
    assert sources.fingerprint("folder", tmp_path, 10) != before
