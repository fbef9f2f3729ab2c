"""Byte-level BPE encodes any text, never takes a user's text for a special token, and counts bytes correctly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.targets.corpus import tokenizer as bpe

TRAINED = bpe.train([["the river and the stone, the lamp and the moon 1234\n" * 20, "naïve café 你好"]], 290)
WEIGHTS = bpe.token_bytes(TRAINED)


def encode(text: str) -> list[int]:
    return [int(token) for token in next(bpe.encode(TRAINED, [[text]]))[0]]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_token_bytes_of_an_encoded_text_add_up_to_its_length_in_utf8(text: str) -> None:
    tokens = encode(text)
    assert sum(WEIGHTS[tokens]) == len(text.encode("utf-8"))
    assert TRAINED.decode(tokens) == text


def test_a_token_that_is_a_broken_piece_of_utf8_counts_its_raw_bytes() -> None:
    tokens = encode("🜁")  # not in the training text: four single bytes, none of which is text by itself
    assert [TRAINED.decode([token]) for token in tokens] == ["\N{REPLACEMENT CHARACTER}"] * 4
    assert WEIGHTS[tokens].tolist() == [1, 1, 1, 1]


def test_special_tokens_take_the_last_ids_and_weigh_nothing() -> None:
    size = TRAINED.get_vocab_size()
    assert [TRAINED.token_to_id(name) for name in bpe.SPECIAL_TOKENS] == [size - 4, size - 3, size - 2, size - 1]
    assert WEIGHTS[-4:].tolist() == [0, 0, 0, 0]
    assert bpe.bos_of(TRAINED) == size - 4


def test_special_tokens_written_in_a_text_are_text() -> None:
    tokens = encode("a <|reserved_0|> b")
    assert max(tokens) < TRAINED.get_vocab_size() - 4
    assert TRAINED.decode(tokens) == "a <|reserved_0|> b"


def test_that_still_holds_for_a_tokenizer_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(bpe.to_json(TRAINED))
    loaded = bpe.load(path)
    again = next(bpe.encode(loaded, [["a <|reserved_0|> b"]]))[0]
    assert again.tolist() == encode("a <|reserved_0|> b")


def test_numbers_are_split_into_groups_of_two() -> None:
    assert [TRAINED.decode([token]) for token in encode("1234")] == ["12", "34"]


def test_the_same_text_gives_the_same_tokenizer(make_story: Callable[[int], str]) -> None:
    texts = [make_story(number) for number in range(30)]
    assert bpe.to_json(bpe.train([texts], 300)) == bpe.to_json(bpe.train([texts], 300))


def test_a_broken_tokenizer_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"tokenizer\.json"):
        bpe.load(tmp_path / "tokenizer.json")
