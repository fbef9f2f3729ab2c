"""For a range comment that has no effect, the line and the reason are reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import command_line, git, write_command_lab

from autoresearch_mlx.agents.knobs.range_notes import notes_on_ranges


@pytest.mark.parametrize(
    "line",
    [
        "A = 8  # knob: int 1 64",
        "A = 64 * 1024  # knob: pow2 1024 2**20",
        "A: float = (\n    0.3\n)  # knob: log 0.01 1",
        "A = 'relu'  # knob: choice relu silu",
        "A = 3  # knob: fixed",
        "A = 3  # a knob",
        "A = 3  # layers # knob: int 1 8",
        "# A comment # knob: int 1 64 gives a range.",
        "A = '# knob: int 1 2'",
    ],
)
def test_a_comment_that_is_read_needs_no_answer(line: str) -> None:
    assert notes_on_ranges({"f.py": line + "\n"}) == ()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (
            "class Config:\n    depth: int = 8  # knob: int 1 64",
            2,
            "inside class Config; write NAME = value at the top",
        ),
        ("@dataclass\nclass C:\n    DEPTH: int = 8  # knob: int 1 64", 3, "inside class C"),
        ("def f():\n    A = 8  # knob: int 1 64", 2, "inside a block"),
        ("batchSize = 8  # knob: int 1 64", 1, "the name batchSize is not in capitals; call it BATCH_SIZE"),
        ("A, B = 8, 9  # knob: int 1 64", 1, "does not set exactly one name"),
        ("# knob: int 1 64\nA = 8", 1, "there is no constant on this line"),
        ("A = len('abc')  # knob: int 1 64", 1, "the value of A is neither a literal nor arithmetic"),
        ("A = (0.9,\n     0.95)  # knob: choice 1 2", 2, "the value of A is neither"),
        ("A = 8  # knob: int 64 1", 1, "`int 64 1` gives no range for A = 8; write log LOW HIGH"),
        ("A = 8  # knob: range 1 64", 1, "`range 1 64` gives no range"),
        ("A = 0.5  # knob: int 1 64", 1, "gives no range for A = 0.5"),
        ("A = 8  # knob: int 1, 64", 1, "`int 1` gives no range"),
        (
            "A = 8  # knob: int 1 64\nA = 9",
            1,
            "A is set again on line 2, and the later value is used; write the comment there",
        ),
        ("\u00c9 = 8  # knob: int 1 64", 1, "the name \u00c9 has letters other than A to Z"),
        ("A = 8  # knob - int 1 64", 1, "a range comment has the form `# knob: KIND ...`"),
        ("SEED = 8  # knob: int 1 64", 1, "SEED is a seed"),
        ("A = 8  # Knob: int 1 64", 1, "a range comment has the form `# knob: KIND ...`"),
        ("A = 8  # knob int 1 64", 1, "a range comment has the form `# knob: KIND ...`"),
        ("class C:\n    depth = 8  # layers # knob: int 1 64", 2, "inside class C"),
        ("\ufeffa = 8  # knob: int 1 64", 1, "the name a is not in capitals; call it A"),
    ],
)
def test_a_comment_without_effect_is_answered(text: str, line: int, said: str) -> None:
    (note,) = notes_on_ranges({"f.py": text + "\n", "g.txt": "a = 1  # knob: int 1 2\n"})
    assert note.startswith(f"f.py, line {line}: the comment `# knob:` has no effect: ")
    assert said in note


def test_run_and_doctor_say_it(tmp_path: Path) -> None:
    lab = write_command_lab(tmp_path / "lab")
    (lab.root / "solver.py").write_text("X = 2 * 2  # knob: lin 0 10\nclass C:\n    Y = 2  # knob: int 0 8\nY = C.Y\n")
    git(lab.root, "commit", "-qam", "a class")
    ran = command_line("run", "--tag", "t", "--experiments", "1", "--agent", "knobs", cwd=lab.root)
    assert "solver.py, line 3: the comment `# knob:` has no effect: the line is inside class C" in ran.stderr
    assert "X 4 -> " in ran.stderr
