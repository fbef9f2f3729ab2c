"""A whole file in a fenced block is accepted if it is complete, and refused with the reason if it is not."""

from __future__ import annotations

import textwrap

import pytest
from edit_cases import ACTIVATION, GENTLER, PATH, SCRIPT, block, fenced, fields, new_text, only, problem

from autoresearch_mlx.agents.edits.fields import Fields
from autoresearch_mlx.agents.edits.reply import read_reply

WANTED = SCRIPT.replace(ACTIVATION, GENTLER)


@pytest.mark.parametrize(
    "reply",
    [
        fenced(WANTED),
        fenced(WANTED, "py"),
        fenced(WANTED, ""),
        f"```python\n{WANTED}",
        f"Here is the file.\n\ntrain_mlx.py\n{fenced(WANTED)}\nGood luck!",
        fenced(WANTED, "python train_mlx.py"),
        fenced(f"# train_mlx.py\n{WANTED}"),
        fenced(WANTED, "text train_mlx.py"),
        textwrap.indent(fenced(WANTED), "    "),
        fenced(textwrap.indent(WANTED, "    ")),
        fenced(WANTED).replace("\n", "\r\n"),
        f"Then run\n{fenced('python train_mlx.py', 'bash')}\n{fenced(WANTED)}",
        fenced(WANTED) + "\nonce more:\n" + fenced(WANTED),
        fields() + "\n\n" + fenced(WANTED),
    ],
)
def test_a_whole_file_is_taken_however_it_is_wrapped(reply: str) -> None:
    assert new_text(reply) == WANTED


@pytest.mark.parametrize(
    "mark",
    [
        "# ... rest of the code unchanged",
        "# ... (rest of the file remains the same) ...",
        "# existing code",
        "# existing code here",
        "    # ...",
        "# …",
        "…",
        "# [rest of the code]".replace("[", "").replace("]", ""),
        "# The rest of the training script stays the same...",
        "# (same as before)",
        "# unchanged",
        "# remaining functions unchanged",
        "# Keep the existing implementation",
        "    # ... other methods ...",
        "# everything else remains as is",
        "# omitted for brevity",
    ],
)
def test_a_mark_for_code_left_out_is_named(mark: str) -> None:
    text = SCRIPT.replace("def norm(", f"{mark}\n\n\ndef norm(")
    said = problem(fenced(text))
    assert repr(mark.strip()) in said
    assert "stands for code that was left out" in said
    assert "left out" in problem(
        block("def norm(x: mx.array) -> mx.array:", f"{mark}\ndef norm(x: mx.array) -> mx.array:")
    )


@pytest.mark.parametrize(
    "comment",
    [
        "# the rest of the run at a constant rate",
        "# ... and then squared",
        "# same shape as x",
        "# other heads share these keys",
        "# keeps the previous value when the step is 0",
        "# original: nn.relu",
    ],
)
def test_an_ordinary_comment_is_none(comment: str) -> None:
    assert comment in new_text(fenced(SCRIPT.replace("def norm(", f"{comment}\ndef norm(")))


def test_dots_in_place_of_a_body_are_named() -> None:
    body = SCRIPT[SCRIPT.index('    """Train until') : SCRIPT.index("def groups(")]
    said = problem(fenced(SCRIPT.replace(body, "    ...\n\n\n")))
    assert "`...` stands for the body of train" in said
    method = SCRIPT.replace(ACTIVATION, '        """Apply."""\n        ...')
    assert "`...` stands for the body of MLP.__call__" in problem(fenced(method))
    assert "left out" in problem(fenced(SCRIPT.replace("def norm(", "...\n\n\ndef norm(")))


def test_dots_that_mean_dots_are_no_mark() -> None:
    new = "\n\nclass Gate(Protocol):\n    def open(self) -> Any:\n        ...\n\n\ndef norm("
    text = SCRIPT.replace("from typing import Any", "from typing import Any, Protocol").replace("\n\ndef norm(", new)
    assert new_text(fenced(text)) == text


def test_a_part_of_the_file_is_not_taken_for_the_file() -> None:
    mlp = SCRIPT[SCRIPT.index("class MLP") : SCRIPT.index("class Block")]
    said = problem(fenced(mlp))
    assert "only a part of the file" in said
    assert "SEARCH/REPLACE" in said


@pytest.mark.parametrize(
    ("start", "end", "name"),
    [("def flat(", "# ------", "flat"), ("class MLP(", "class Block(", "MLP"), ("import math", "from coll", "math")],
)
def test_what_is_gone_but_still_used_is_named(start: str, end: str, name: str) -> None:
    gone = SCRIPT[(at := SCRIPT.index(start)) : SCRIPT.index(end, at)]
    said = problem(fenced(SCRIPT.replace(gone, "")))
    assert f"still uses {name} (line " in said
    assert "no longer defines or imports it" in said


def test_a_simpler_file_may_lose_what_it_does_not_use() -> None:
    gone = SCRIPT[SCRIPT.index("def even_rows(") : SCRIPT.index("class Optimiser")]
    call = '        g, self.state[f"{key}.second"] = even_rows(g, self.state[f"{key}.second"])\n'
    text = SCRIPT.replace(gone, "").replace(call, "")
    assert new_text(fenced(text)) == text


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (fenced(SCRIPT), "The edit changes nothing"),
        (fenced(""), "would be empty"),
        (fenced("   \n\n"), "would be empty"),
        (fenced(WANTED) + fenced(SCRIPT), "comes twice as a whole file"),
        (fenced(WANTED, "python train_mlx.py") + block(ACTIVATION, GENTLER), "both as blocks and whole"),
        (fenced("--- a/train_mlx.py\n+++ b/train_mlx.py\n@@ -1 +1 @@\n-x\n+y", "diff"), "A unified diff is not read"),
        (fenced(WANTED, "python model.py"), "cannot be changed or made. The editable file is train_mlx.py."),
        (fenced(WANTED.replace("import math", "import math\0")), "NUL"),
        (fenced(WANTED.replace("import math", "import math  # \ud800")), "an invalid character"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_the_reason(reply: str, said: str) -> None:
    edit = only(reply)
    assert said in edit.problem
    edit.problem.encode()


def test_with_several_files_a_fence_needs_its_path() -> None:
    files = {"a.py": "x = 1\n", "b.py": "x = 1\n"}
    assert only(f"b.py\n{fenced('x = 2')}", files).files == {"b.py": "x = 2\n"}
    assert "does not say which file" in only(fenced("x = 2"), files).problem


def test_a_file_that_is_no_python_is_taken_as_it_is() -> None:
    files = {"model.cfg": "depth: 4\n"}
    assert only(fenced("depth: 5", "cfg"), files).files == {"model.cfg": "depth: 5\n"}
    assert only(block("depth: 4", "depth: 5"), files).files == {"model.cfg": "depth: 5\n"}


def test_an_editable_json_file_is_code_and_no_object_with_fields() -> None:
    files = {"model.json": '{"depth": 4}\n'}
    reply = fenced('{"depth": 5}', "json model.json")
    assert only(reply, files).files == {"model.json": '{"depth": 5}\n'}
    assert only(f"{fields()}\n{reply}", files).title == "gentler activation"
    (edit,) = read_reply(reply, files, Fields(title="deeper"))
    assert edit.files == {"model.json": '{"depth": 5}\n'}


def test_windows_line_ends_stay() -> None:
    assert new_text(fenced(WANTED), SCRIPT.replace("\n", "\r\n")) == WANTED.replace("\n", "\r\n")
    assert PATH in only(fenced(WANTED)).files
