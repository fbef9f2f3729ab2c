"""The axis of a change follows from the parts of the real training script that it touches."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, git

from autoresearch_mlx.compare.diffs import ARGUMENTS, axes_of_diff, read_patches

SCRIPT = (ROOT / "train_mlx.py").read_text(encoding="utf-8")
CODE = """\
class MLP:
    def __call__(self, x):
        return self.down(relu(self.up(x)) ** 2)


class Attention:
    def __call__(self, x):
        return self.out(attend(x))


def lr_factor(progress):
    return 1 - progress


def loss_of(model, x, y):
    return cross_entropy(model(x), y)
"""


@pytest.mark.parametrize(
    ("old", "new", "axes"),
    [
        ("relu(self.up(x)) ** 2", "silu(self.up(x))", ("mlp.activation",)),
        ("self.down(relu(self.up(x)) ** 2)", "2 * self.down(relu(self.up(x)) ** 2)", ("mlp",)),
        ("attend(x)", "attend(x, 2.0)", ("attention",)),
        ("1 - progress", "(1 + cos(pi * progress)) / 2", ("schedule.shape",)),
        ("1 - progress", "(1 - progress) ** 2", ("schedule",)),
        ("cross_entropy(model(x), y)", "cross_entropy(model(x), y) + 1e-4", ("loss",)),
        ("attend(x)", "norm(attend(x))", ("norm",)),
    ],
)
def test_code_is_known_by_its_words_and_places(old: str, new: str, axes: tuple[str, ...]) -> None:
    assert axes_of_diff(CODE, CODE.replace(old, new)) == axes


@pytest.mark.parametrize(
    ("old", "new", "axes"),
    [
        ("MATRIX_LR = 0.04", "MATRIX_LR = 0.03", ("lr.matrix",)),
        ("DEPTH = 4 ", "DEPTH = 5 ", ("depth",)),
        ("# transformer layers", "# layers", ()),
    ],
)
def test_constants_of_the_shipped_script_are_known_by_name(old: str, new: str, axes: tuple[str, ...]) -> None:
    assert old in SCRIPT
    assert axes_of_diff(SCRIPT, SCRIPT.replace(old, new, 1)) == axes


@pytest.mark.parametrize(
    ("old", "new", "axes"),
    [
        ('class Block(nn.Module):\n    """', 'class Block(nn.Module):\n    """More: ', ()),
        ("\nDEPTH = 4 ", "\n# if\nelse_ = 1\nDEPTH = 4 ", ("code",)),
    ],
)
def test_docstrings_and_other_statements(old: str, new: str, axes: tuple[str, ...]) -> None:
    before = SCRIPT if old in SCRIPT else SCRIPT.replace("class Block(nn.Module):\n", old.rstrip('"') + '"""x"""\n')
    assert axes_of_diff(before, before.replace(old, new, 1)) == axes


def test_a_text_of_several_lines_at_the_margin_is_no_statement() -> None:
    before = 'TEXT = """\nimport this\nDEPTH = 4\n"""\n\n\ndef mlp():\n    return 1\n'
    assert axes_of_diff(before, before.replace("return 1", "return 2")) == ("mlp",)
    assert axes_of_diff(before, before.replace("DEPTH = 4\n", "DEPTH = (\n")) == ("code",)


def test_constants_come_before_code() -> None:
    before, after = "DEPTH = 4\n" + CODE, "DEPTH = 5\n" + CODE.replace("attend(x)", "attend(x, 2)")
    assert axes_of_diff(before, after) == ("depth", "attention")


def test_what_nothing_names_is_code_and_what_does_not_parse_is_nothing() -> None:
    assert axes_of_diff("def f():\n    return 1\n", "def f():\n    return 2\n") == ("code",)
    assert axes_of_diff("x = (", "x = 1") == ()
    assert axes_of_diff(CODE, CODE) == ()


def test_a_patch_with_whole_context_gives_both_texts_back(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    versions = ["A = 1\n\n\nB = 2\n", "A = 1\n\n\nB = 3\nC = '@@ -1 +1 @@'\n"]
    for at, text in enumerate(versions):
        (tmp_path / "train.py").write_text(text)
        (tmp_path / "notes.md").write_text(f"{at}\n")
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "--quiet", "-m", "a step\n\ndiff --git a/x.py b/x.py")
    commit = git(tmp_path, "rev-parse", "HEAD")
    patches = read_patches(git(tmp_path, "log", *ARGUMENTS, commit, "0" * 40))
    assert patches == {commit: ((versions[0], versions[1]),)}
