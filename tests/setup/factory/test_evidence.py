"""Copies are left out, and only pieces with different authors and addresses are independent."""

from __future__ import annotations

import pytest

from autoresearch_mlx.setup.factory.evidence import Piece, evidence_of, independent, quoted, sort_out
from autoresearch_mlx.setup.factory.posts import Post

TEXT = "I scale the servings of a recipe by hand every week, and every week at least one amount is wrong again."


def post(text: str, number: int = 0) -> Post:
    return Post(text, f"https://made-up.example/{number}", f"author {number}")


@pytest.mark.parametrize(
    "copy",
    [TEXT.upper(), f"  {TEXT.replace(' ', chr(10))}  ", TEXT.replace(",", " --").replace(".", "!!!")],
    ids=["case", "layout", "punctuation"],
)
def test_an_equal_text_is_a_copy(copy: str) -> None:
    found = sort_out([post(TEXT), post(copy, 1)])
    assert (len(found.pieces), found.same, found.near, found.pieces[0].copies) == (1, 1, 0, 1)


@pytest.mark.parametrize(
    "copy",
    [f"Hello all. {TEXT}", TEXT.replace("recipe", "meal"), TEXT.removesuffix(" again.")],
    ids=["a greeting", "another word", "a cut"],
)
def test_a_nearly_equal_text_is_a_copy(copy: str) -> None:
    found = sort_out([post(TEXT), post(copy, 1), post(copy, 2)])
    assert (len(found.pieces), found.same, found.near) == (1, 1, 1)


@pytest.mark.parametrize(
    "other",
    [
        "I count the working days of a month by hand every week, and every month at least one of them is missing.",
        "My recipe is great, thank you for asking.",
        "Servings.",
    ],
)
def test_another_text_is_no_copy(other: str) -> None:
    assert len(sort_out([post(TEXT), post(other, 1)]).pieces) == 2


@pytest.mark.parametrize(
    ("pieces", "count"),
    [
        ([("Ann", "https://a/1"), ("Bob", "https://a/2"), ("Cid", "https://b/1")], 3),
        ([("Ann", f"https://a/{n}") for n in range(10)], 1),
        ([("Ann", "https://a/1"), ("ANN ", "https://a/2")], 1),
        ([("Ann", "https://a/1"), ("Bob", "https://a/1/")], 1),
        ([("", "https://a/1"), ("", "https://a/2")], 2),
        ([("", "posts.jsonl"), ("", "posts.jsonl#3"), ("", "posts.jsonl#4")], 1),
        ([("", "a.txt"), ("", "b.txt")], 2),
        ([("Ann", "https://a/1"), ("Bob", "https://a/2"), ("Ann", "https://a/2")], 1),
    ],
    ids=[
        "three people", "one person, ten posts", "one name in two forms", "one address", "unknown authors, two pages",
        "unknown authors, one file", "unknown authors, two files", "joined by a third piece",
    ],
)  # fmt: skip
def test_independence(pieces: list[tuple[str, str]], count: int) -> None:
    found = [evidence_of(Piece(n, TEXT, address, author, ""), TEXT) for n, (author, address) in enumerate(pieces)]
    assert independent(found) == count


@pytest.mark.parametrize(
    ("quote", "wanted"),
    [
        ("SERVINGS of a\n recipe", "servings of a recipe"),
        ("servings of a cake", None),
        ("hand", None),
        (TEXT, TEXT),
    ],
    ids=["case and layout", "invented", "too short to prove anything", "the whole"],
)
def test_a_quote_stands_in_its_post(quote: str, wanted: str | None) -> None:
    assert quoted(Piece(1, TEXT, "a", "", ""), quote) == wanted


@pytest.mark.parametrize("letters", ["Groß, größer: ", "\u0130stanbul \ufb01 ", "1+1=(2) "])
def test_a_quote_is_found_behind_letters_whose_other_case_is_longer(letters: str) -> None:
    assert quoted(Piece(1, letters + TEXT, "a", "", ""), "i SCALE the servings") == "I scale the servings"
    assert quoted(Piece(1, f"{TEXT} {letters}", "a", "", ""), f"again. {letters}") == f"again. {letters.strip()}"
