"""The keeps of a night are split into changes that apply on their own."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest

from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.loop.independent import Files, Step, apply, cancelled, changes_of

START = """\
A = 1  # knob: int 0 9
B = 1  # knob: int 0 9


def first(x):
    return x


def second(x):
    # a line between
    # another one
    return x


def third(x):
    # a line between
    # another one
    return x
"""


def night(*texts: str | Files, removes: Mapping[int, int] | None = None) -> list[Step]:
    """Return the steps of a night in which these versions were kept one after the other; numbers count from 1."""
    versions: list[Files] = [{"f.py": text} if isinstance(text, str) else text for text in (START, *texts)]
    pairs = pairwise(versions)
    return [Step(kept(at, (removes or {}).get(at)), before, after) for at, (before, after) in enumerate(pairs, 1)]


def kept(number: int, removes: int | None) -> Experiment:
    talk = {} if removes is None else {"removes": removes}
    return Experiment(number, "keep", 1.0, 0.1, f"c{number}", "b", None, "t", None, {}, "", "", "", "", talk=talk)


def edited(text: str, *edits: tuple[str, str]) -> str:
    for before, after in edits:
        assert before in text
        text = text.replace(before, after, 1)
    return text


def numbers(steps: list[Step]) -> list[tuple[int, ...]]:
    return [change.numbers for change in changes_of({"f.py": START}, steps)]


def test_different_knobs_are_changes_of_their_own_even_on_neighbouring_lines() -> None:
    one = edited(START, ("A = 1", "A = 2"))
    steps = night(one, edited(one, ("B = 1", "B = 3")))
    found = changes_of({"f.py": START}, steps)
    assert [change.numbers for change in found] == [(1,), (2,)]
    assert found[1].files["f.py"] == edited(START, ("B = 1", "B = 3"))


def test_keeps_that_set_the_same_knob_are_one_change() -> None:
    one = edited(START, ("A = 1", "A = 2"))
    two = edited(one, ("B = 1", "B = 3"))
    assert numbers(night(one, two, edited(two, ("A = 2", "A = 4")))) == [(1, 3), (2,)]


def test_keeps_whose_lines_overlap_are_one_change_and_others_stay_apart() -> None:
    one = edited(START, ("def first(x):\n    return x", "def first(x):\n    return x + 1"))
    two = edited(one, ("another one\n    return x\n\n\ndef third", "another one\n    return -x\n\n\ndef third"))
    three = edited(two, ("return x + 1", "return 2 * (x + 1)"))
    assert numbers(night(one, two, three)) == [(1, 3), (2,)]


def test_a_keep_goes_with_the_one_that_defines_the_name_it_uses() -> None:
    one = edited(START, ("def first", "def helper(x):\n    return x\n\n\ndef first"))
    two = edited(one, ("A = 1", "A = 2"))
    three = START + "\n\ndef fourth(x):\n    return helper(x)\n"
    three = edited(
        two, ("def third(x):\n    # a line between\n    # another one\n    return x", three[three.index("def third") :])
    )
    assert numbers(night(one, two, three)) == [(1, 3), (2,)]


def test_a_keep_that_was_removed_again_cancels_out() -> None:
    one = edited(START, ("A = 1", "A = 2"))
    two = edited(one, ("B = 1", "B = 3"))
    found = changes_of({"f.py": START}, night(one, two, edited(two, ("A = 2", "A = 1")), removes={3: 1}))
    assert [(change.numbers, cancelled(change, {"f.py": START})) for change in found] == [((1, 3), True), ((2,), False)]


def test_several_files_are_followed() -> None:
    start = {"f.py": START, "g.txt": "one\n"}
    one = {**start, "g.txt": "two\n"}
    two = {**one, "f.py": edited(START, ("A = 1", "A = 2"))}
    steps = [Step(kept(1, None), start, one), Step(kept(2, None), one, two)]
    assert [dict(change.files) for change in changes_of(start, steps)] == [one, {**start, "f.py": two["f.py"]}]


def test_all_changes_together_are_the_head() -> None:
    one = edited(START, ("def first(x):\n    return x", "def first(x):\n    return x + 1"))
    two = edited(one, ("A = 1", "A = 2"))
    three = edited(two, ("return x + 1", "return 2 * (x + 1)"))
    steps = night(one, two, three)
    every = [step for change in changes_of({"f.py": START}, steps) for step in change.steps]
    assert apply({"f.py": START}, every) == {"f.py": three}


def files(**texts: str) -> Files:
    return {f"src/{name}.py": text for name, text in texts.items()}


@pytest.mark.parametrize(
    "use",
    [
        "from src.b import helper\n\n\ndef run():\n    return helper()\n",
        "from .b import helper\n\n\ndef run():\n    return helper()\n",
        "import src.b\n\n\ndef run():\n    return src.b.helper()\n",
        "from src import b as other\n\n\ndef run():\n    return other.helper()\n",
    ],
)
def test_a_keep_goes_with_the_one_that_defines_the_name_in_another_file(use: str) -> None:
    start = files(a="def run():\n    return 1\n", b="def base():\n    return 2\n", c="C = 1\n")
    one = {**start, **files(b=start["src/b.py"] + "\n\ndef helper():\n    return 3\n")}
    two = {**one, **files(c="C = 2\n")}
    three = {**two, **files(a=use)}
    steps = [Step(kept(at, None), *pair) for at, pair in enumerate(pairwise((start, one, two, three)), 1)]
    assert [change.numbers for change in changes_of(start, steps)] == [(1, 3), (2,)]


def test_a_keep_goes_with_the_one_that_added_the_file_it_imports() -> None:
    start = files(a="import math\n\n\ndef run():\n    return 1\n")
    one = {**start, **files(math="def sin():\n    return 3\n")}  # beside a module of Python with the same name
    two = {**one, **files(new="NEW = 3\n")}
    three = {**two, **files(a="import math\nfrom src.new import NEW\n\n\ndef run():\n    return math.cos(NEW)\n")}
    steps = [Step(kept(at, None), *pair) for at, pair in enumerate(pairwise((start, one, two, three)), 1)]
    assert [change.numbers for change in changes_of(start, steps)] == [(1,), (2, 3)]
