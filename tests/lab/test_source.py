"""Knobs are read and set in place; the fingerprint depends on what a file does, not on how it looks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_mlx.lab.source import (
    changed_knobs,
    describe,
    fingerprint,
    literal,
    only_knobs_differ,
    read_knobs,
    same_work,
    set_knobs,
)

names = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True)
numbers = st.one_of(
    st.integers(-(10**25), 10**25),
    st.integers(0, 80).map(lambda power: 2**power),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda x: float(f"{x:.6g}")),
)
texts = st.text(st.characters(codec="utf-8"))
values = st.one_of(numbers, texts, st.booleans(), st.none(), st.tuples(numbers, numbers), st.lists(numbers, max_size=3))
# A comment may contain anything but characters that end its line or the file.
words = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"))


def knob_values(text: str) -> dict[str, Any]:
    return {name: knob.value for name, knob in read_knobs(text).items()}


@pytest.mark.slow
@given(st.dictionaries(names, st.tuples(words, words, values, values), min_size=1), st.data())
def test_what_is_set_is_read_again_and_nothing_else_in_the_text_moves(
    knobs: Mapping[str, tuple[str, str, Any, Any]], data: st.DataObject
) -> None:
    chosen = data.draw(st.sets(st.sampled_from(sorted(knobs))))

    def written(changed: set[str]) -> str:
        return "".join(
            f"# {above}\né = 'ü試'; {name} = {literal(after if name in changed else before)}  # {behind}\n"
            for name, (above, behind, before, after) in knobs.items()
        )

    text = set_knobs(written(set()), {name: knobs[name][3] for name in chosen})
    assert text == written(chosen)
    assert knob_values(text) == {name: knob[3 if name in chosen else 2] for name, knob in knobs.items()}


@pytest.mark.slow
@given(values)
def test_a_literal_means_the_value_that_it_was_made_from(value: Any) -> None:
    read = read_knobs(f"X = {literal(value)}\n")["X"].value
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (65536, "2**16"),
        (1024, "2**10"),
        (512, "512"),
        (1000, "1000"),
        (-2048, "-2048"),
        (0.1 + 0.2, "0.3"),
        (0.0123456789, "0.0123457"),
        (3e-05, "3e-05"),
        (True, "True"),
        (None, "None"),
        ("SSSL", '"SSSL"'),
        ('é"\n', '"é\\"\\n"'),
        ((0.8, 0.95), "(0.8, 0.95)"),
        (math.inf, "1e999"),
    ],
)
def test_values_are_written_as_a_person_would(value: Any, written: str) -> None:
    assert literal(value) == written


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X = 4", 4),
        ("X: float = 0.04", 0.04),
        ("X = -3", -3),
        ("X = 2**16", 65536),
        ("X = (0.8, 0.95)", (0.8, 0.95)),
        ("X = 0.8, 0.95", (0.8, 0.95)),
        ("X = (4.0)", 4.0),
        ('X = "SS" "SL"', "SSSL"),
        ("X = {'a': 1}", {"a": 1}),
    ],
)
def test_a_knob_is_an_upper_case_name_with_a_literal(line: str, value: Any) -> None:
    assert knob_values(f"{line}  # behind\n") == {"X": value}
    assert knob_values(set_knobs(f"{line}  # behind\n", {"X": 5})) == {"X": 5}


@pytest.mark.parametrize(
    "line",
    [
        "x = 4",
        "Xy = 4",
        "X = f(4)",
        "X = Y",
        "X = Y = 4",
        "X, Y = 4, 5",
        "X.Y = 4",
        "X += 4",
        "X: int",
        "X = f'4'",
        "X = 2**65",
        "X = 10**10**10",
        "X = (1,\n 2)",
        "X = '''\n'''",
        "if True:\n    X = 4",
        "def f():\n    X = 4",
        "X = (",
        "X = '\ud800'",
        "X = '\0'",
        "X = " + "-" * 5000 + "1",
    ],
)
def test_everything_else_is_no_knob(line: str) -> None:
    assert read_knobs(line + "\n") == {}


def test_the_last_assignment_of_a_name_counts() -> None:
    text = "X = 1\nX = 2\n"
    assert read_knobs(text)["X"].line == 2
    assert set_knobs(text, {"X": 3}) == "X = 1\nX = 3\n"


@pytest.mark.parametrize(
    ("comment", "kind", "said"),
    [
        ("# knob: log 0.003 0.3", "log", ("0.003", "0.3")),
        ("#knob:lin 0 1", "lin", ("0", "1")),
        ("# knob: choice L SL SSSL  # of windows", "choice", ("L", "SL", "SSSL")),
        ("# knob: pow2 8 64; rows", "pow2", ("8", "64")),
        ("# knob: int 1 8, layers", "int", ("1", "8")),
        ("# knob: choice relu, gelu, silu", "choice", ("relu", "gelu", "silu")),
        ("# knob: choice L SL, of windows", "choice", ("L", "SL")),
        ("# knob: choice L, a window", "choice", ("L",)),
        ("# layers", None, ()),
        ("", None, ()),
    ],
)
def test_a_comment_gives_the_range(comment: str, kind: str | None, said: tuple[str, ...]) -> None:
    knob = read_knobs(f"X = 4  {comment}\n")["X"]
    assert (knob.kind, knob.words) == (kind, said)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_stay_as_they_are(end: str) -> None:
    text = end.join(["# é", "X = 1  # knob: int 0 4", "Y = 2", ""])
    assert set_knobs(text, {"Y": 3, "X": 4}) == text.replace("= 1", "= 4").replace("= 2", "= 3")
    assert read_knobs(text)["X"].kind == "int"


@pytest.mark.parametrize("odd", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_only_pythons_own_line_ends_count_as_lines(odd: str) -> None:
    text = f"# a{odd}b\nX = 1  # knob: int 0 4\nY = 'a{odd}b'; Z = 3\n"
    assert read_knobs(text)["X"].kind == "int"
    assert set_knobs(text, {"X": 2, "Z": 4}) == f"# a{odd}b\nX = 2  # knob: int 0 4\nY = 'a{odd}b'; Z = 4\n"


def test_several_knobs_on_one_line_are_set_together() -> None:
    assert set_knobs("é = 'ü'; X = 1; Y = 2  # ö\n", {"X": 1000, "Y": 0.5}) == "é = 'ü'; X = 1000; Y = 0.5  # ö\n"


def test_a_comment_belongs_to_the_last_constant_of_its_line() -> None:
    knobs = read_knobs("X = 1; Y = 2  # knob: int 1 3\n")
    assert (knobs["X"].kind, knobs["Y"].kind) == (None, "int")


def test_a_name_that_is_no_knob_cannot_be_set() -> None:
    with pytest.raises(KeyError, match="WIDTH"):
        set_knobs("X = 1\n", {"WIDTH": 2})


def test_changes_tell_from_and_to_and_none_for_what_was_or_is_not_there() -> None:
    changes = changed_knobs("A = 1\nB = 2\nC = 3\nS = 4\n", "S = 4\nB = 2.0\nA = 5\nD = 'x'\n")
    assert changes == {"A": (1, 5), "B": (2, 2.0), "C": (3, None), "D": (None, "x")}
    assert describe(changes) == 'A 1 -> 5, B 2 -> 2.0, C 3 -> None, D None -> "x"'
    assert changed_knobs("A = 1\n", "# only words\nA = 1  # knob: int 0 4\n") == {}


PROGRAM = '''\
"""What it is."""
import os

X = 1.0  # knob: lin 0 2

def f(a, b=2):
    """What f does."""
    # add
    return a + b

class C:
    """What C is."""
    def g(self):
        return "text"
'''


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""What it is."""\n', ""),
        ('"""What it is."""', "'''Something else.'''"),
        ("import os\n\n", "import os\n\n\n\n"),
        ("  # knob: lin 0 2", ""),
        ("    # add\n", ""),
        ('    """What f does."""\n', ""),
        ('    """What C is."""\n', ""),
        ("1.0", "1.00"),
        ("a + b", "(a + b)"),
        ('"text"', "'text'"),
        ("a, b=2", "a,  b = 2"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(before: str, after: str) -> None:
    assert before in PROGRAM
    assert fingerprint({"f.py": PROGRAM.replace(before, after)}) == fingerprint({"f.py": PROGRAM})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1.0", "1"),
        ("1.0", "1.0000001"),
        ("import os\n", ""),
        ("a + b", "b + a"),
        ("b=2", "b=3"),
        ('"text"', '"Text"'),
        ("def f", "def h"),
        ("import os\n", 'import os\n"no docstring, but a statement"\n'),
    ],
)
def test_everything_that_a_file_does_counts(before: str, after: str) -> None:
    assert before in PROGRAM
    assert fingerprint({"f.py": PROGRAM.replace(before, after)}) != fingerprint({"f.py": PROGRAM})


statements = st.one_of(
    st.tuples(names, values).map(lambda pair: f"{pair[0]} = {literal(pair[1])}"),
    st.integers(0, 9).map(lambda n: f"print({n})"),
    st.integers(0, 9).map(lambda n: f"def f{n}(x):\n    return x + {n}"),
)


@pytest.mark.slow
@given(
    st.lists(statements, min_size=1), st.lists(st.one_of(words.map("# {}".format), st.just("")), min_size=1), st.data()
)
def test_noise_between_statements_never_counts_and_a_statement_always_does(
    program: list[str], noise: list[str], data: st.DataObject
) -> None:
    plain = "\n".join(program)
    noisy = "\n".join(line for at, part in enumerate(program) for line in (noise[at % len(noise)], part))
    assert fingerprint({"f.py": noisy}) == fingerprint({"f.py": plain})
    gone = data.draw(st.integers(0, len(program) - 1))
    assert fingerprint({"f.py": "\n".join(program[:gone] + program[gone + 1 :])}) != fingerprint({"f.py": plain})


def test_other_languages_and_broken_python_count_by_their_very_text() -> None:
    assert fingerprint({"a.txt": "# a\n"}) != fingerprint({"a.txt": "# b\n"})
    assert fingerprint({"a.py": "X = ( # a\n"}) != fingerprint({"a.py": "X = ( # b\n"})


@pytest.mark.parametrize(
    "deep", ["X = " + "-" * 5000 + "1\n", "X = 1" + " + 1" * 5000 + "\n", "X = " + "(" * 5000 + "\n"]
)
def test_a_text_nested_without_end_has_a_fingerprint_too(deep: str) -> None:
    assert fingerprint({"a.py": deep}) != fingerprint({"a.py": deep.replace("1", "2").replace("((", "(")})
    assert "X" not in read_knobs(deep)


def test_the_path_belongs_to_the_fingerprint_and_the_order_does_not() -> None:
    one = {"a.py": "X = 1\n", "b.py": "Y = 2\n"}
    assert fingerprint(one) == fingerprint(dict(reversed(one.items())))
    assert fingerprint(one) != fingerprint({"a.py": "Y = 2\n", "b.py": "X = 1\n"})


@pytest.mark.parametrize("constant", ["1e999", '"\\ud800"', "{1, 2}", 'b"a"', "...", "2j", "(1, 1e999)"])
def test_a_constant_that_no_journal_can_hold_is_no_knob(constant: str) -> None:
    assert list(read_knobs(f"A = 1\nX = {constant}\n")) == ["A"]


def test_two_texts_differ_in_knobs_only_when_nothing_else_is_new() -> None:
    text = "X = 1.0  # knob: lin 0 2\nY = 2\n\ndef f():\n    return X\n"
    assert only_knobs_differ(text, text.replace("1.0", "1.5").replace("Y = 2", "Y = 3"))
    assert only_knobs_differ(text, f"# a remark\n{text}")
    assert not only_knobs_differ(text, text.replace("return X", "return X + 1"))
    assert not only_knobs_differ(text, f"{text}Z = 3\n")
    assert not only_knobs_differ(text, text.replace("Y = 2\n", ""))
    assert not only_knobs_differ("", text)


def test_a_byte_order_mark_is_read_over_and_stays() -> None:
    text = "\ufeffé = 1; DEPTH = 4  # knob: int 1 8\r\nLR = 0.1\r\n"
    assert knob_values(text) == {"DEPTH": 4, "LR": 0.1}
    assert set_knobs(text, {"DEPTH": 5, "LR": 0.2}) == text.replace("= 4", "= 5").replace("0.1", "0.2")
    assert fingerprint({"a.py": text}) == fingerprint({"a.py": text.removeprefix("\ufeff")})
    assert only_knobs_differ(text, text.removeprefix("\ufeff").replace("= 4", "= 5"))


def test_a_carriage_return_alone_ends_a_line() -> None:
    text = "DEPTH = 4  # knob: int 1 8\rLR = 0.1\r"
    assert set_knobs(text, {"LR": 0.2}) == text.replace("0.1", "0.2")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("64 * 1024", 65536),
        ("1 << 16", 65536),
        ("3 * 2**10", 3072),
        ("60 * 60 // 2", 1800),
        ("-(3e-4 / 2)", -0.00015),
        ("(\n    64\n    * 1024\n)", 65536),
        ("(64 *\n     1024)", 65536),
    ],
)
def test_arithmetic_with_a_range_comment_is_a_knob_and_is_replaced_whole(written: str, value: float) -> None:
    text = f"A = 1\nSIZE: int = {written}  # knob: log 1 8 # why\nB = 2\n"
    knob = read_knobs(text)["SIZE"]
    assert (knob.value, knob.kind, knob.words) == (value, "log", ("1", "8"))
    after = set_knobs(text, {"SIZE": 5, "A": 3})
    assert knob_values(after) == {"A": 3, "SIZE": 5, "B": 2}
    assert after.endswith("  # knob: log 1 8 # why\nB = 2\n")
    assert only_knobs_differ(text, after)


@pytest.mark.parametrize(
    "written",
    [
        "64 * 1024",
        "9 ** 999  # knob: int 1 2",
        "2.0 ** 1000 ** 2  # knob: int 1 2",
        "1 / 0  # knob: int 1 2",
        "1 << -1  # knob: int 1 2",
        "-2 ** 0.5  * (-1) ** 0.5  # knob: int 1 2",
        "OTHER * 2  # knob: int 1 2",
        "'a' * 9  # knob: int 1 2",
        "(64  # heads\n * 1024)  # knob: int 1 2",
    ],
)
def test_other_expressions_are_no_knobs(written: str) -> None:
    assert read_knobs(f"SIZE = {written}\n") == {}


@pytest.mark.parametrize(
    ("knob", "now", "same"),
    [
        ("MATRIX_LR", "0.03", True),
        ("WEIGHT_DECAY", "0.2000001", True),
        ("WARMUP_RATIO", "0.95", True),
        ("ADAM_BETAS", "(0.8, 0.99)", True),
        ("DEPTH", "5", False),
        ("TOTAL_BATCH_SIZE", "2**13", False),
        ("WINDOW_PATTERN", '"L"', False),
        ("SOFTCAP", "1.0", True),
        ("WEIGHT_DECAY", "None", False),  # may switch something off
        ("SOFTCAP", "0", False),  # so may this
        ("CAP_LOGITS", "False", False),
        ("OURS", "3", False),  # whatever it does
    ],
)
def test_an_edit_of_rates_and_schedules_leaves_the_work_of_a_step_as_it_was(knob: str, now: str, same: bool) -> None:
    knobs = {"MATRIX_LR": "0.04", "WEIGHT_DECAY": "0.2", "WARMUP_RATIO": "0.0", "ADAM_BETAS": "(0.8, 0.95)"}
    knobs |= {"DEPTH": "4", "TOTAL_BATCH_SIZE": "2**14", "WINDOW_PATTERN": '"SSSL"', "SOFTCAP": "15.0", "OURS": "2"}
    knobs |= {"CAP_LOGITS": "True"}
    write = "".join(f"{name} = {{{name}}}\n" for name in knobs) + "print(DEPTH)\n"
    before, after = write.format(**knobs), write.format(**{**knobs, knob: now})
    assert same_work({"train.py": before}, {"train.py": after}) is same
    assert not same_work({"train.py": before}, {"train.py": f"{after}print(1)\n"})
    assert not same_work({"train.py": before}, {"other.py": after})
    assert not same_work({"train.py": before}, {})
