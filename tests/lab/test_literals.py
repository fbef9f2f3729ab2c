"""An edit may not carry knowledge: the amount and the form of data that it may write into a Python file are limited."""

from __future__ import annotations

import base64
import random
import textwrap
from pathlib import Path

import pytest

from autoresearch_mlx.lab.literals import Bounds, too_much

SCRIPT = (Path(__file__).resolve().parents[2] / "train_mlx.py").read_text()
RANDOM = random.Random(0)
WEIGHTS = bytes(RANDOM.randrange(256) for _ in range(1400))
BASE64 = base64.b64encode(WEIGHTS).decode()


def comments(text: str, piece: int) -> str:
    pieces = textwrap.wrap(text, piece)
    return "\n".join("# " + " ".join(pieces[i : i + 8]) for i in range(0, len(pieces), 8))


FORMS = {
    "base64 in a string": (f'W = "{BASE64[:900]}"', "900 characters of high entropy"),
    "bytes": (f"W = {WEIGHTS[:300]!r}", "that are not plain text"),
    "letters of another script": (f'W = "{"".join(chr(0x4E00 + b) for b in WEIGHTS[:200])}"', "not plain text"),
    "a list of numbers": (f"W = {[*WEIGHTS[:200]]}", "200 numbers in one statement"),
    "arguments of a call": (f"W = max({', '.join(map(str, WEIGHTS[:200]))})", "200 numbers in one statement"),
    "one large number": (f"W = {int.from_bytes(WEIGHTS[:100], 'big')}", "a number of 20"),
    "a number in hexadecimal": (f"W = 0x{WEIGHTS.hex()}", "in one statement"),
    "a row of text": ('W = """' + "some words of a validation row, \n" * 50 + '"""', "in one statement"),
    "many small numbers": ("\n".join(f"w{i} = {RANDOM.random()}" for i in range(200)), "bytes of strings and numbers"),
    "many small strings": ("\n".join(f"w{i} = 'some words {i}'" for i in range(300)), "bytes of strings and numbers"),
    "base64 in comments, as words": (comments(BASE64, 7), "comments that are not words"),
    "hexadecimal in comments": (comments(WEIGHTS.hex(), 6), "comments that are not words"),
    "text in comments": ("# the text of a validation row\n" * 300, "bytes of literals and comments"),
    "names": ("\n".join("q" + BASE64[i : i + 30].translate({43: 95, 47: 95, 61: 95}) + f"{i} = 1" for i in range(400)),
              "bytes of literals and comments"),
    "blanks at line ends": ("\n".join("pass" + " \t" * 50 for _ in range(100)), "bytes of literals and comments"),
    "operators": ("x = 1\n" + "\n".join("x " + " x ".join(RANDOM.choices("+-*|&^", k=8)) + " x" for _ in range(9000)),
                  "when compressed"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.uncounted
@pytest.mark.parametrize("form", FORMS)
def test_data_is_refused_in_every_form_with_its_size(form: str) -> None:
    added, said = FORMS[form]
    why = too_much("train_mlx.py", SCRIPT, f"{SCRIPT}\n{added}\n", Bounds())
    assert why is not None and why.startswith("train_mlx.py ") and said in why
    assert "what a model knows must come from training" in why


HONEST = {
    "a docstring and a table": '''
def warmup(step: int) -> float:
    """Raise the rate over the first steps.

    The first batches are the least typical ones, and Adam's second moments are empty, so that early steps are too long
    (https://example.org/abs/1910.04209v3?with=a-long-query-string&and=another-part-of-it-that-goes-on).
    """
    table = [0.0, 0.1, 0.25, 0.5, 0.8, 0.95, 1.0]
    return table[min(step, 6)]
''',
    "a line of signs": "# " + "-" * 118,
    "constants of a hash": "P = 0x9E3779B97F4A7C15\nQ = 18446744073709551557",
}


@pytest.mark.parametrize("added", HONEST.values(), ids=HONEST.keys())
def test_honest_code_passes(added: str) -> None:
    assert too_much("train_mlx.py", SCRIPT, f"{SCRIPT}\n{added}\n", Bounds()) is None


def test_what_a_file_has_already_is_free_and_may_be_removed() -> None:
    large = f'{SCRIPT}\nW = "{BASE64}"\n' + "# a comment of the user's own\n" * 1000
    assert too_much("train_mlx.py", large, large.replace("DEPTH = 4", "DEPTH = 5"), Bounds()) is None
    assert too_much("train_mlx.py", large, SCRIPT, Bounds()) is None


@pytest.mark.slow
def test_small_steps_end_at_the_bound_of_the_file() -> None:
    text, why = SCRIPT, None
    for step in range(20):
        edit = text + f"# note {step}: a remark on what was tried and how it went\n" * 40
        if (why := too_much("train_mlx.py", text, edit, Bounds())) is not None:
            break
        text = edit
    assert why is not None and "more than 24,576" in why


def test_the_bounds_can_be_set() -> None:
    table = f"{SCRIPT}\nW = {list(range(60))}\n"
    assert too_much("train_mlx.py", SCRIPT, table, Bounds()) is None
    assert "more than 50" in (too_much("train_mlx.py", SCRIPT, table, Bounds(statement_bytes=50)) or "")
