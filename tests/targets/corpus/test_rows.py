"""Opening a corpus takes little time and reports errors; verifying it reads everything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus.prepare import Request, prepare
from autoresearch_mlx.targets.corpus.rows import Corpus, open_corpus, verify


@pytest.fixture
def corpus(stories: Path, cache: Path) -> Corpus:
    return prepare(Request("folder", path=stories, vocab_size=280, seq_len=16), cache, lambda line: None)


def edit(corpus: Corpus, **values: object) -> None:
    path = corpus.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_rows_are_a_plain_npy_file(corpus: Corpus) -> None:
    rows = np.load(corpus.path("train"), allow_pickle=False)
    assert rows.shape == (corpus.manifest.rows["train"], 17)
    assert (rows == corpus.rows("train")).all()


def test_token_bytes_weigh_every_token_and_no_special_one(corpus: Corpus) -> None:
    weights = corpus.token_bytes()
    assert weights.dtype == np.int32 and weights.shape == (280,)
    assert np.flatnonzero(weights == 0).tolist() == [276, 277, 278, 279]
    assert corpus.manifest.bos == 276


def test_a_changed_byte_is_found_by_verify_only(corpus: Corpus) -> None:
    data = bytearray(corpus.path("hidden").read_bytes())
    data[-1] ^= 1
    corpus.path("hidden").write_bytes(data)
    with pytest.raises(CorpusError, match=r"hidden\.npy has SHA-256"):
        verify(open_corpus(corpus.folder))


@pytest.mark.parametrize("name", ["train.npy", "val.npy", "hidden.npy", "tokenizer.json", "token_bytes.npy"])
def test_a_missing_file_is_named(corpus: Corpus, name: str) -> None:
    (corpus.folder / name).unlink()
    with pytest.raises(CorpusError, match=name) as caught:
        open_corpus(corpus.folder)
    assert "autoresearch-mlx prepare folder PATH" in caught.value.hint


def test_a_folder_without_a_manifest_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no corpus in"):
        open_corpus(tmp_path)


def test_a_torn_manifest_is_named(corpus: Corpus) -> None:
    (corpus.folder / "manifest.json").write_text('{"schema": 1,')
    with pytest.raises(CorpusError, match=r"manifest\.json is not JSON"):
        open_corpus(corpus.folder)


def test_a_manifest_of_a_later_version_is_refused(corpus: Corpus) -> None:
    edit(corpus, schema=99)
    with pytest.raises(CorpusError, match="schema 99; this version reads up to 1"):
        open_corpus(corpus.folder)


def test_keys_this_version_does_not_know_are_passed_over(corpus: Corpus) -> None:
    edit(corpus, colour="blue")
    assert open_corpus(corpus.folder).manifest == corpus.manifest


def test_an_array_of_another_shape_is_refused(corpus: Corpus) -> None:
    path = corpus.path("train")
    data = path.read_bytes().replace(b"'<u2'", b"'<i2'")
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=r"train\.npy holds int16"):
        open_corpus(corpus.folder).rows("train")


def test_held_out_rows_that_may_not_be_read_do_not_hinder_opening(corpus: Corpus) -> None:
    corpus.path("val").chmod(0)
    code = (
        "import os; from pathlib import Path\n"
        "from autoresearch_mlx.targets.corpus.rows import open_corpus\n"
        "from autoresearch_mlx.errors import CorpusError\n"
        "open_corpus(Path()).rows('train')\n"  # numpy has now imported whatever it imports late
        "if os.geteuid() == 0: os.setuid(65534)\n"  # root may read everything
        "opened = open_corpus(Path())\n"
        "print(len(opened.rows('train')))\n"
        "try: opened.rows('val')\n"
        "except CorpusError as error: print(error)\n"
    )
    child = subprocess.run([sys.executable, "-c", code], cwd=corpus.folder, capture_output=True, text=True, check=True)
    rows, refusal = child.stdout.splitlines()
    assert int(rows) == corpus.manifest.rows["train"]
    assert refusal == "cannot read val.npy: Permission denied"
