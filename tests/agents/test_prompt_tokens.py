"""The estimate of tokens is never too low, and never depends on a server."""

import pytest
from prompt_cases import ROOT

from autoresearch_mlx.agents.prompt.tokens import estimate


def test_nothing_is_no_token() -> None:
    assert estimate("") == 0


def test_text_counts_by_three_bytes_and_digits_one_by_one() -> None:
    assert estimate("abc") == 1
    assert estimate("abcd") == 2
    assert estimate("0.0042") == 5 + 1


def test_what_is_not_ascii_counts_by_its_bytes() -> None:
    assert estimate("学习率") == 3
    assert estimate("é" * 30) == 20


def test_a_lone_surrogate_is_counted_too() -> None:
    assert estimate("\ud800") == 1


def test_the_ratio_can_be_that_of_a_known_model() -> None:
    assert estimate("abcdefgh", chars_per_token=4) == 2


def test_joining_texts_never_costs_more_than_the_two_apart() -> None:
    parts = ["loss 4.21", "\n", "naïve", "x" * 100]
    assert estimate("".join(parts)) <= sum(map(estimate, parts))


@pytest.mark.parametrize(("file", "counted"), [("train_mlx.py", 6653), ("program.md", 852)])
def test_the_estimate_is_above_the_highest_count_of_four_real_tokenizers(file: str, counted: int) -> None:
    """The counts were made once with Gemma 3, Qwen 3.6, DeepSeek V4 and Llama 3; Gemma 3 has the highest."""
    text = (ROOT / file).read_text()
    sizes = {"train_mlx.py": 20102, "program.md": 3324}
    assert counted * len(text) / sizes[file] <= estimate(text) <= 1.5 * counted * len(text) / sizes[file]
