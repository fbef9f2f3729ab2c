"""Near copies are found however they were changed, and no row that scores a model has a copy elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch_mlx.targets.corpus.build import build
from autoresearch_mlx.targets.corpus.near import Known, copied
from autoresearch_mlx.targets.corpus.prepare import Request, prepare
from autoresearch_mlx.targets.corpus.rows import Corpus, open_corpus
from autoresearch_mlx.targets.corpus.sources import Pooled, folder

CHANGED: dict[str, Callable[[str, str], str]] = {
    "cut to its second half": lambda text, other: text[len(text) // 2 :],
    "with other layout and case": lambda text, other: text.upper().replace(" ", "\n    "),
    "inside a longer text": lambda text, other: other + text + other,
    "with every fortieth word replaced": lambda text, other: " ".join(
        "other" if number % 40 == 0 else word for number, word in enumerate(text.split())
    ),
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED.keys())
def test_a_changed_copy_is_near(change: Callable[[str, str], str], make_story: Callable[..., str]) -> None:
    text, other = make_story(1, 300), make_story(2, 400)
    known = Known()
    known.add(text)
    known.settle()
    assert known.near(change(text, other))
    assert not known.near(other)
    assert copied([change(text, other)], [[text, other]]) == [True]


def test_texts_without_long_equal_passages_are_not_near(make_story: Callable[..., str]) -> None:
    stories = [make_story(number, 200) for number in range(40)]
    assert copied(stories, []) == [False] * 40
    assert copied([*stories, stories[3] + " The end."], []) == [number in (3, 40) for number in range(41)]
    assert copied(["short", "short"], [["short"]]) == [False, False]


def test_rows_that_score_have_no_near_copy_elsewhere(tmp_path, cache, say, said, make_story, texts) -> None:
    place = tmp_path / "twice"
    place.mkdir()
    for number in range(160):
        text = make_story(number % 80, 120)
        (place / f"{number}.txt").write_text(text if number < 80 or number % 4 else f"Told again: {text.upper()}")
    corpus = prepare(Request("folder", path=place, vocab_size=300, seq_len=512, val_rows=8, hidden_rows=8), cache, say)
    assert corpus.manifest.source_detail["near_copies"] > 0 and any("near copies of others" in line for line in said)
    train = [text.lower() for text in texts(corpus, "train")]
    held = [text.lower() for split in ("val", "hidden") for text in texts(corpus, split)]
    assert not any(copied(held, [train]))


def test_no_row_that_scores_comes_from_text_that_training_can_read(stories, tmp_path, say, texts) -> None:
    pool = folder(stories, 16)
    readable = [text.read_text() for text in sorted(stories.iterdir())[:60]]
    made = built(replace(pool, open_text=lambda: iter([readable])), stories, tmp_path / "made", say)
    assert made.manifest.source_detail["closed"] is True
    beginnings = {text[:10] for text in readable}
    held = [text for split in ("val", "hidden") for text in texts(made, split)]
    assert any(text.startswith("Tale") for text in held) and not any(text[:10] in beginnings for text in held)


def test_a_text_that_is_nothing_but_copies_is_still_prepared_and_that_is_said(
    tmp_path, cache, say, said, make_story
) -> None:
    place = tmp_path / "copies"
    place.mkdir()
    for number in range(40):
        (place / f"{number}.txt").write_text(f"{number} {make_story(1, 200)}")
    corpus = prepare(Request("folder", path=place, vocab_size=300, seq_len=16), cache, say)
    assert corpus.manifest.source_detail["near_copies"] == 0
    assert any("near copies stay in the held-out rows" in line for line in said)


def test_where_training_can_read_all_the_text_is_for_demonstration(stories, tmp_path, say, said) -> None:
    pool = folder(stories, 16)
    made = built(replace(pool, open_text=lambda: pool.text(lambda path: None)), stories, tmp_path / "made", say)
    assert "closed" not in made.manifest.source_detail
    assert any("this is demonstration text, which is not certified" in line for line in said)


def built(pool: Pooled, path: Path, place: Path, say: Callable[[str], None]) -> Corpus:
    place.mkdir()
    build(pool, Request("folder", path=path, vocab_size=300, seq_len=16), place, "made", say)
    return open_corpus(place)
