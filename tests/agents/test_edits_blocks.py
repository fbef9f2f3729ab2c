"""Search/replace blocks: how they are found in a reply, and whether they fit in a file."""

from __future__ import annotations

import textwrap

import pytest
from edit_cases import ACTIVATION, GENTLER, PATH, SCRIPT, SMALL, block, fenced, fields, new_text, only, problem

GOOD = block(ACTIVATION, GENTLER)
WANTED = SCRIPT.replace(ACTIVATION, GENTLER)
CALL = f"    def __call__(self, x: mx.array) -> mx.array:\n{ACTIVATION}"


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        fenced(GOOD),
        fenced(GOOD, "python train_mlx.py"),
        fenced(GOOD, "python path=train_mlx.py"),
        fenced(GOOD, "python:train_mlx.py"),
        fenced(GOOD, 'python title="./train_mlx.py"'),
        fenced(GOOD, "train_mlx.py"),
        fenced(GOOD, ""),
        fenced(GOOD, "diff"),
        f"train_mlx.py\n{fenced(GOOD)}",
        f"### `train_mlx.py`:\n\n{fenced(GOOD)}",
        f"**File: train_mlx.py**\n{GOOD}",
        f"In train_mlx.py I change one line.\n{fenced(GOOD)}",
        fenced(f"# train_mlx.py\n{GOOD}"),
        fenced(f"train_mlx.py\n{GOOD}"),
        GOOD.replace("SEARCH", "SEARCH train_mlx.py"),
        f"```python\n{GOOD}",
        f"```python\n{GOOD}\nThat makes the activation smooth.\n",
        f"~~~python\n{GOOD}~~~\n",
        f"````python\n{GOOD}````\n",
        textwrap.indent(fenced(GOOD), "    "),
        f"1. The edit:\n{textwrap.indent(fenced(GOOD), '   ')}",
        GOOD.replace("<<<<<<<", "<<<<<").replace("=======", "=====").replace(">>>>>>>", ">>>>>>>>>"),
        GOOD.replace(" SEARCH", "SEARCH").replace("REPLACE", "REPLACE  "),
        GOOD.replace(" SEARCH", "").replace(" REPLACE", ""),
        GOOD.replace("\n", "\r\n"),
        f"{GOOD}\n{GOOD}",
        fenced(GOOD.replace(">>>>>>>", "```\n>>>>>>>")),
        f"The layer now reads\n{fenced('y = nn.silu(x)')}\nand so:\n{GOOD}",
        fields() + "\n" + fenced(GOOD),
        fenced(GOOD) + "\n" + fenced(fields(), "json"),
    ],
)
def test_a_block_is_found_however_it_is_wrapped(reply: str) -> None:
    assert new_text(reply) == WANTED


@pytest.mark.parametrize(
    "search",
    [
        f"{ACTIVATION}   ",
        ACTIVATION.strip(),
        f"\n{ACTIVATION}\n\n",
        ACTIVATION.replace("        ", "\t\t"),
        textwrap.indent(ACTIVATION, "      "),
        ACTIVATION.replace("return ", "return   "),
    ],
)
def test_blanks_do_not_matter_where_only_one_place_remains(search: str) -> None:
    replace = textwrap.indent(GENTLER.strip(), search[: len(search) - len(search.lstrip())].lstrip("\n"))
    assert new_text(block(search, replace)) == WANTED


@pytest.mark.parametrize("shift", [-4, 4])
def test_a_shifted_block_takes_its_replacement_along(shift: int) -> None:
    def shifted(text: str) -> str:
        return textwrap.indent(text, " " * shift) if shift > 0 else "\n".join(x[-shift:] for x in text.split("\n"))

    longer = f"{CALL.splitlines()[0]}\n        if x.size == 0:\n            return x\n\n{GENTLER}"
    assert new_text(block(shifted(CALL), shifted(longer))) == SCRIPT.replace(CALL, longer)


def test_a_line_without_its_comment_is_a_part_of_the_line() -> None:
    text = new_text(block("MATRIX_LR = 0.04", "MATRIX_LR = 0.05"))
    assert text == SCRIPT.replace("\nMATRIX_LR = 0.04 ", "\nMATRIX_LR = 0.05 ")
    assert "is not in train_mlx.py" in problem(block("MATRIX_LR = 0.0", "MATRIX_LR = 0.1"))


def test_an_empty_replacement_deletes_the_lines() -> None:
    assert new_text(
        block('    """RMSNorm without a gain (arXiv:1910.07467)."""\n', "").replace("=======\n\n", "=======\n")
    )


def test_a_heading_underlined_in_the_code_is_no_divider() -> None:
    text = SMALL.replace('script."""', 'script.\n\nKnobs\n=====\n"""')
    edited = new_text(block("Knobs\n=====", "Constants\n========="), text)
    assert edited == text.replace("Knobs\n=====", "Constants\n=========")


# --- several


FIRST = block("MATRIX_LR = 0.04", "MATRIX_LR = 0.05")


@pytest.mark.parametrize("reply", [FIRST + GOOD, GOOD + FIRST, fenced(FIRST) + fenced(GOOD), fenced(GOOD + FIRST)])
def test_blocks_apply_together_in_any_order(reply: str) -> None:
    assert new_text(reply) == WANTED.replace("\nMATRIX_LR = 0.04 ", "\nMATRIX_LR = 0.05 ")


def test_blocks_are_held_against_the_text_before_the_edit() -> None:
    swap = block("MATRIX_LR = 0.04", "SCALAR_LR = 0.04") + block("SCALAR_LR = 0.5", "MATRIX_LR = 0.5")
    assert "\nSCALAR_LR = 0.04 " in new_text(swap)
    chain = block(ACTIVATION, GENTLER) + block(GENTLER, "        return x")
    assert "is not in" in problem(chain)


def test_one_block_that_fits_nowhere_keeps_all_from_applying() -> None:
    edit = only(GOOD + block("nowhere to be found", "x"))
    assert not edit.files
    assert edit.mismatch
    assert "No block was applied" in edit.problem


def test_blocks_that_overlap_are_refused() -> None:
    said = problem(GOOD + block(CALL, f"{CALL}  # again"))
    assert "the block at line 1 of the reply" in said
    assert "the block at line 6 of the reply" in said
    assert "make one block of them" in said


# --- blocks that do not fit


def test_the_nearest_lines_are_shown_with_their_numbers_and_differences() -> None:
    said = problem(
        block(
            "    def __init__(self, width):\n        super().__init__()\n        self.c_fc = Linear(width, 4 * width)",
            "x",
        )
    )
    number = SCRIPT.splitlines().index("        self.c_fc = Linear(width, int(MLP_RATIO * width))") + 1
    assert f"file {number:5d} |         self.c_fc = Linear(width, int(MLP_RATIO * width))" in said
    assert "sent       |         self.c_fc = Linear(width, 4 * width)" in said


def test_the_nearest_lines_reach_from_the_first_to_the_last_that_were_sent() -> None:
    said = problem(
        block("class MLP(nn.Module):\n    def __init__(self, width: int) -> None:\n        super().__init__()", "x")
    )
    assert "| class MLP(nn.Module):" in said
    assert "Two matrices around a squared ReLU" in said


def test_one_misspelled_line_is_found_by_likeness() -> None:
    assert ACTIVATION.strip() in problem(block("        return self.proj(mx.square(nn.relu(self.fc(x))))", "x"))


def test_nothing_alike_is_said_too() -> None:
    assert "Nothing in the file is like it" in problem(block("ÄÖÜ", "x"))


def test_several_places_are_named_by_their_lines() -> None:
    edit = only(block("        super().__init__()", "        pass"))
    lines = [n for n, line in enumerate(SCRIPT.splitlines(), 1) if line == "        super().__init__()"]
    assert f"its SEARCH text occurs {len(lines)} times in {PATH}, at lines {', '.join(map(str, lines))}" in edit.problem
    assert "add lines before or after it" in edit.problem
    assert edit.mismatch


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (block("", "x = 1").replace("SEARCH\n\n", "SEARCH\n"), "its SEARCH part is empty"),
        (block("   ", "x = 1"), "its SEARCH part is empty"),
        (GOOD.replace(">>>>>>> REPLACE\n", ""), "is not closed by a line >>>>>>> REPLACE"),
        (GOOD.replace(">>>>>>> REPLACE\n", "") + GOOD, "is not closed by a line >>>>>>> REPLACE before the next"),
        (GOOD.replace("=======\n", ""), "has no line ======="),
        (GOOD.replace("=======\n", "=======\n=======\n"), "has more than one line ======="),
        (GOOD.replace("<<<<<<< SEARCH\n", ""), "has no line <<<<<<< SEARCH"),
    ],
)
def test_a_broken_block_is_a_mismatch_with_its_reason(reply: str, said: str) -> None:
    edit = only(reply)
    assert said in edit.problem
    assert edit.mismatch
    assert not edit.files


def test_a_block_that_changes_nothing_is_no_edit() -> None:
    assert "The edit changes nothing" in problem(block(ACTIVATION, ACTIVATION))


def test_an_empty_file_takes_an_empty_search() -> None:
    assert new_text(block("", "x = 1").replace("SEARCH\n\n", "SEARCH\n"), "") == "x = 1\n"


# --- files


def test_line_ends_stay_as_they_were() -> None:
    windows = SCRIPT.replace("\n", "\r\n")
    assert new_text(GOOD, windows) == WANTED.replace("\n", "\r\n")
    assert new_text(GOOD, "\ufeff" + windows) == "\ufeff" + WANTED.replace("\n", "\r\n")
    unfinished = SMALL.removesuffix("\n")
    last = unfinished.splitlines()[-1]
    assert new_text(block(last, "    return MATRIX_LR"), unfinished).endswith("    return MATRIX_LR")


@pytest.mark.parametrize(
    "reply",
    [
        f"model.py\n{GOOD}",
        fenced(GOOD, "python ../train_mlx.py"),
        fenced(GOOD, "python /etc/train_mlx.py"),
        fenced(f"# helpers/new.py\n{GOOD}"),
        GOOD.replace("SEARCH", "SEARCH model.py"),
    ],
)
def test_another_path_is_refused_and_the_editable_ones_are_named(reply: str) -> None:
    said = problem(reply)
    assert "cannot be changed or made" in said
    assert "The editable file is train_mlx.py." in said


def test_with_several_files_the_path_or_the_only_fit_decides() -> None:
    files = {"a.py": "x = 1\ny = 1\n", "b.py": "x = 1\nz = 1\n"}
    assert only(block("z = 1", "z = 2"), files).files == {"b.py": "x = 1\nz = 2\n"}
    assert only("a.py\n" + block("x = 1", "x = 2"), files).files == {"a.py": "x = 2\ny = 1\n"}
    both = only(f"a.py\n{block('x = 1', 'x = 2')}\nb.py\n{block('x = 1', 'x = 3')}", files)
    assert both.files == {"a.py": "x = 2\ny = 1\n", "b.py": "x = 3\nz = 1\n"}
    said = only(block("x = 1", "x = 2"), files).problem
    assert "does not say which file it is for" in said
    assert "The editable files are a.py, b.py." in said
