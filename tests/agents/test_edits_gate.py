"""Code that cannot run is refused before it runs: syntax, names, modules.  Nothing is imported to find that out."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT
from edit_cases import ACTIVATION, SCRIPT, SMALL, block, fenced, new_text, only, problem

IMPORT = "import mlx.nn as nn"


def importing(line: str) -> str:
    return block(IMPORT, f"{IMPORT}\n{line}")


def test_a_text_that_does_not_parse_is_shown_around_the_line() -> None:
    said = problem(block(ACTIVATION, "        return return x"))
    number = SCRIPT.splitlines().index(ACTIVATION) + 1
    assert f"train_mlx.py does not parse: line {number}: invalid syntax" in said
    assert f"> {number:5d} |         return return x" in said
    assert f"  {number - 1:5d} |     def __call__(self, x: mx.array) -> mx.array:" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("        return (x", "'(' was never closed"),
        ("        return x\n   y = 1", "unindent"),
        ("        nonlocal z", "no binding for nonlocal 'z'"),
        ("        break", "'break' outside loop"),
        ("        return " + "(" * 300 + ")" * 300, "does not parse"),
        ("        return " + "-" * 90_000 + "x", "does not parse"),
        ("        return x" + "()" * 90_000, "does not parse"),
    ],
)
def test_every_way_of_not_being_a_program_is_caught(line: str, said: str) -> None:
    assert said in problem(block(ACTIVATION, line))


def test_a_name_that_nothing_defines_is_named_with_its_line() -> None:
    said = problem(block(ACTIVATION, "        return self.c_proj(F.silu(self.c_fc(x)))"))
    assert "uses F (line 174) but never defines or imports it" in said


def test_a_name_of_another_function_is_not_defined_here() -> None:
    code = "def f():\n    half_gate = 1\n    return half_gate\n\n\ndef g():\n    return half_gate"
    factor = "def lr_factor(progress: float) -> float:"
    said = problem(block(factor, f"{code}\n\n\n{factor}"))
    assert "uses half_gate (line " in said and "never defines or imports it" in said


@pytest.mark.parametrize(
    "code",
    [
        "def f(a, *b, c=1, **d):\n    return [a, b, c, d, __name__, print]",
        "try:\n    pass\nexcept ValueError as error:\n    print(error)",
        "match 1:\n    case {'a': q, **rest}:\n        print(q, rest)\n    case [one, *two]:\n        print(one, two)",
        "print([p for p in range(3) if (half := p)], half)",
        "def g():\n    global LATER\n    LATER = 1\n\n\ndef h():\n    return LATER, __file__",
        "from math import *\nprint(sqrt(2))",
        "class A:\n    def b(self):\n        return __class__",
        "def f(x: 'batch', y: list['heads']) -> 'batch':\n    return x",
    ],
)
def test_names_of_every_binding_are_known(code: str) -> None:
    assert code in new_text(
        block("def lr_factor(progress: float) -> float:", f"{code}\n\n\ndef lr_factor(progress: float) -> float:"),
        SMALL,
    )


def test_what_the_file_did_before_is_not_held_against_the_edit() -> None:
    odd = "import sibling\n\nprint(injected, sibling)\nX = 1\n"
    assert new_text(block("X = 1", "import sibling.more\nX = 2"), odd)


@pytest.mark.parametrize("module", ["torch", "triton.language", "mlx.functional", "numpy.nowhere", "flash_attn"])
def test_a_module_that_is_not_there_is_named_with_those_that_are(module: str) -> None:
    said = problem(importing(f"import {module} as other"))
    assert (
        f"imports {module} (line 22), which cannot be found here; these can: mlx, numpy, the standard library" in said
    )


@pytest.mark.parametrize(
    "line",
    [
        "import mlx.optimizers",
        "from mlx.nn.losses import cross_entropy",
        "import numpy.linalg",
        "import os.path, functools",
        "from __future__ import annotations",
        "try:\n    import torch\nexcept ImportError:\n    torch = None",
        "import train_mlx",
    ],
)
def test_what_can_be_found_or_may_fail_is_let_through(line: str) -> None:
    text = SMALL.replace("import math\n", f"{line}\nimport math\n").replace(
        '"""A small part of the training script."""', ""
    )
    assert new_text(fenced(text), SMALL) == text.rstrip() + "\n"


def test_nothing_is_imported_to_find_out() -> None:
    program = (
        "import sys\n"
        "from autoresearch_mlx.agents.edits.reply import read_reply\n"
        "reply = '```python\\nimport mlx.nn, numpy.linalg, antigravity\\nx = 2\\n```'\n"
        "edits = read_reply(reply, {'a.py': 'x = 1\\n'})\n"
        "assert edits[0].files, edits\n"
        "print([name for name in ('mlx', 'numpy', 'antigravity') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_a_warning_of_the_parser_stays_off_the_terminal() -> None:
    program = (
        "from autoresearch_mlx.agents.edits.reply import read_reply\n"
        "edits = read_reply('```python\\nx = \"\\\\d\"\\nassert (x, 1)\\n```', {'a.py': 'x = 1\\n'})\n"
        "assert edits[0].files, edits\n"
    )
    done = subprocess.run([sys.executable, "-Wd", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "SyntaxWarning" not in done.stderr
    assert done.returncode == 0
    assert only(fenced("x = 2"), {"a.py": "x = 1\n"}).files
