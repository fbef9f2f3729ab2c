"""A kernel goes into a script behind a switch, and comes out byte by byte; nobody's edits are lost."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import command_line
from kernel_labs import CAPPED_LOSS, EXAMPLE, FASTER, example_lab, kept_kernels

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.targets.kernel.installing import installed_in, with_kernel, without_kernel
from autoresearch_mlx.targets.kernel.sliced import function_text, sliced
from autoresearch_mlx.targets.kernel.task import Array, Task

SCRIPT = (EXAMPLE / "train_mlx.py").read_text()
DOUBLE = Task(
    name="double",
    function="double",
    parameters=("x",),
    arrays=(Array("x", "float32", ("N1",)),),
    constants={},
    outputs=1,
    differentiated=False,
    sizes={"N1": 8},
    free=("N1",),
    odd=(),
    tolerance=2e-5,
    typical=2e-6,
    baselines=("eager",),
    script="train_mlx.py",
)
TWICE = "import mlx.core as mx\n\n\ndef kernel(x):\n    return 2 * x\n"
SCRIPTS = {
    "as the example is": (SCRIPT, CAPPED_LOSS),
    "lines that end as on Windows": (SCRIPT.replace("\n", "\r\n"), CAPPED_LOSS),
    "line ends of both kinds": ("A = 1\r\ndef double(x):\n    return x + x\n\n\nB = 2\r\n", DOUBLE),
    "a comment after the function": ("def double(x):\n    return x + x\n    # the end\nB = 2\n", DOUBLE),
    "a byte order mark": ("\ufeff" + SCRIPT, CAPPED_LOSS),
    "the function at the end": ("import mlx.core as mx\n\n\ndef double(x):\n    return x + x\n", DOUBLE),
    "no line end at the end": ("def double(x):\n    return x + x", DOUBLE),
    "one line, and no line end": ("import math\r\ndef double(x): return x + x", DOUBLE),
    "no blank line after the function": ("def double(x):\n    return x + x\nY = double(1)\n", DOUBLE),
    "strange characters in lines": (
        "A = '\x0c \u2028 \x85'\n\n\ndef double(x):\n    return x + x\n\n\n\nB = 2\n",
        DOUBLE,
    ),
}


@pytest.mark.parametrize(("text", "task"), SCRIPTS.values(), ids=list(SCRIPTS))
def test_a_kernel_comes_out_again_without_a_trace(text: str, task: Task) -> None:
    changed = with_kernel(text, task, TWICE if task is DOUBLE else FASTER, "train_mlx.py")
    (found,) = installed_in(changed)
    assert (found.function, found.on, found.edited) == (task.function, True, False)
    compile(changed.removeprefix("\ufeff"), "train_mlx.py", "exec")
    assert without_kernel(changed, task.function, "train_mlx.py") == text


def test_edits_elsewhere_and_the_switch_stay_as_the_person_left_them() -> None:
    changed = with_kernel(SCRIPT, CAPPED_LOSS, FASTER, "train_mlx.py")
    edited = changed.replace("LR = 0.1", "LR = 0.2").replace("KERNEL_CAPPED_LOSS = True", "KERNEL_CAPPED_LOSS = False")
    (found,) = installed_in(edited)
    assert not found.on and not found.edited
    assert without_kernel(edited, "capped_loss", "train_mlx.py") == SCRIPT.replace("LR = 0.1", "LR = 0.2")


def test_lines_of_a_kernel_that_were_edited_are_not_removed() -> None:
    changed = with_kernel(SCRIPT, CAPPED_LOSS, FASTER, "train_mlx.py").replace(
        "mx.logsumexp(capped", "mx.logsumexp(1.0 * capped"
    )
    with pytest.raises(LabError, match="were edited since they were installed"):
        without_kernel(changed, "capped_loss", "train_mlx.py")


def test_several_kernels_stand_in_one_script_and_each_comes_out_alone() -> None:
    text = SCRIPT + "\n\ndef double(x):\n    return x + x\n"
    both = with_kernel(with_kernel(text, CAPPED_LOSS, FASTER, "t.py"), DOUBLE, TWICE, "t.py")
    assert [each.function for each in installed_in(both)] == ["capped_loss", "double"]
    alone = without_kernel(both, "capped_loss", "t.py")
    assert alone == with_kernel(text, DOUBLE, TWICE, "t.py")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def other(x):\n    return x\n", "no longer defines double"),
        ("class A:\n    def double(self, x):\n        return x\n", "no longer defines double"),
        ("double = abs\n", "no longer defines double"),
        ("def double(y):\n    return y\n", "has other parameters"),
        ("def double(x, *more):\n    return x\n", "has other parameters"),
        ("def double(x):\n    return x\n\n\ndef double(x):\n    return x + x\n", "more than once"),
        ("def double(x): return x; Y = 1\nZ = (\n", "does not parse"),
        ("def double(x):\r    return x\r", "lines that end with a carriage return alone"),
        ("KERNEL_DOUBLE = 3\n\n\ndef double(x):\n    return x\n", "uses the name KERNEL_DOUBLE"),
    ],
)
def test_a_script_without_the_function_is_refused(text: str, said: str) -> None:
    with pytest.raises(LabError, match=said):
        with_kernel(text, DOUBLE, TWICE, "train_mlx.py")


def test_a_kernel_is_not_installed_over_another() -> None:
    changed = with_kernel(SCRIPT, CAPPED_LOSS, FASTER, "train_mlx.py")
    with pytest.raises(LabError, match="has a kernel for capped_loss already"):
        with_kernel(changed, CAPPED_LOSS, FASTER, "train_mlx.py")


def test_a_text_that_is_a_value_keeps_its_lines() -> None:
    source = (
        'METAL = """line\n  out[0] = 1;\n"""\n\n\ndef launch(shapes):\n    """Docs.\n\n    More."""\n    return 1\n'
    )
    changed = with_kernel("def double(x):\n    return x\n", DOUBLE, source, "t.py")
    assert 'METAL = """line\n  out[0] = 1;\n"""' in changed and "        More." in changed


@pytest.mark.parametrize(
    "before", ["\ufeff", "A = '\x0c \u2028 \x85'\n"], ids=["byte order mark", "strange characters"]
)
def test_a_function_is_cut_out_of_any_script_that_python_reads(before: str) -> None:
    text = before + "B = 2\n\n\ndef double(x):\n    return B * x\n\n\nC = 3\n"
    assert function_text(text, "double") == "def double(x):\n    return B * x\n"
    assert sliced(text, "double", "t.py").endswith("B = 2\n\n\ndef double(x):\n    return B * x\n")


def test_a_kernel_with_line_ends_as_on_windows_gets_those_of_the_script() -> None:
    text = "def double(x):\r\n    return x\r\n\r\n\r\ndef capped_loss(logits, targets, cap):\r\n    return 0\r\n"
    for source in (TWICE, TWICE.replace("\n", "\r\n")):
        once = with_kernel(text, DOUBLE, source, "t.py")
        assert "\r\r" not in once and not any(each.edited for each in installed_in(once))
        both = with_kernel(once, CAPPED_LOSS, FASTER, "t.py")
        assert without_kernel(without_kernel(both, "double", "t.py"), "capped_loss", "t.py") == text


# --- the commands

ASK = """
import mlx.core as mx
mx.set_default_device(mx.cpu)
import train_mlx as script
found = mx.sum(script.capped_loss(mx.ones((3, 5)), mx.array([0, 1, 2]), 15.0))
print(vars(script.capped_loss).get("uses"), round(found.item(), 4))
"""


def asked(lab: Path) -> str:
    """Call the function of the lab's script in a fresh process, and return what that prints."""
    return subprocess.run([sys.executable, "-c", ASK], cwd=lab, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = example_lab(tmp_path_factory.mktemp("labs") / "lab")
    kept_kernels(root, FASTER)
    return root


def test_install_uses_the_kernel_and_remove_restores_the_file_with_uncommitted_edits(lab: Path) -> None:
    script = lab / "train_mlx.py"
    script.write_text(SCRIPT + "# a line that is not committed\n")
    script.chmod(0o640)
    was = script.read_bytes()
    done = command_line("kernel", "install", cwd=lab)
    assert done.returncode == 0, done.stderr
    assert "the kernel's gain for the step is not measured yet" in done.stdout
    assert "Uses(kernel=1, plain=0, why='') 4.8283" in asked(lab)
    again = command_line("kernel", "install", cwd=lab)
    assert again.returncode == 1 and "already" in again.stderr
    done = command_line("kernel", "remove", cwd=lab / "kernels" / "capped_loss")
    assert done.returncode == 0 and "removed capped_loss" in done.stdout
    assert script.read_bytes() == was and script.stat().st_mode & 0o777 == 0o640
    none = command_line("kernel", "remove", cwd=lab)
    assert none.returncode == 1 and "has no installed kernel" in none.stderr


def test_other_line_ends_are_no_change_of_the_function_and_a_protected_script_is_left_alone(lab: Path) -> None:
    script = lab / "train_mlx.py"
    script.write_bytes(SCRIPT.replace("\n", "\r\n").encode())
    script.chmod(0o440)
    done = command_line("kernel", "install", cwd=lab)
    assert done.returncode == 1 and "is write-protected" in done.stderr
    script.chmod(0o640)
    done = command_line("kernel", "install", cwd=lab)
    assert done.returncode == 0 and "has changed since" not in done.stdout
    assert command_line("kernel", "remove", cwd=lab).returncode == 0
    assert script.read_bytes() == SCRIPT.replace("\n", "\r\n").encode()


LAUNCH = "\n\n\ndef launch(shapes):\n    return (1, 1, 1), (1, 1, 1)\n"
UNUSABLE = {
    "wrong": (FASTER.replace("mx.tanh(", "mx.sigmoid("), "it fails its check on N1 = 3, N2 = 5"),
    "cannot be built": (FASTER.replace("mx.logsumexp", "mx.no_such"), "it cannot be built or run: AttributeError"),
    "no form here": (f'METAL = "out[0] = 1;"{LAUNCH}', "it has no implementation for this machine"),
    "another constant": (FASTER, "cap is 15.0, and the kernel was made for 30.0"),
    "wrong gradient": (FASTER.replace("logits / cap", "mx.stop_gradient(logits) / cap"), "the gradient of input 1"),
}


@pytest.fixture(scope="module")
def fallen_back(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Call the function of a script with each of the unusable kernels, and return what each call prints."""
    folder = tmp_path_factory.mktemp("scripts")
    code = ["import mlx.core as mx", "mx.set_default_device(mx.cpu)"]
    for name, (kernel, _) in UNUSABLE.items():
        constants = {"cap": 30.0} if name == "another constant" else CAPPED_LOSS.constants
        text = with_kernel(SCRIPT, replace(CAPPED_LOSS, constants=constants), kernel, "train_mlx.py")
        module = name.replace(" ", "_")
        (folder / f"{module}.py").write_text(text)
        call = f"mx.sum({module}.capped_loss(mx.ones((3, 5)), mx.array([0, 1, 2]), 15.0)).item()"
        code += [f"print('case {name}:')", f"import {module}", f"print(round({call}, 4))"]
        code.append(f"print(vars({module}.capped_loss.uses))")
    script = "\n".join(code)
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    parts = done.stdout.split("case ")[1:]
    return dict(part.split(":", 1) for part in parts)


@pytest.mark.parametrize("name", list(UNUSABLE))
def test_a_kernel_that_cannot_be_used_leaves_the_plain_function_and_says_so(
    name: str, fallen_back: dict[str, str]
) -> None:
    printed = fallen_back[name]
    assert "kernel capped_loss: the plain function is used: " in printed and UNUSABLE[name][1] in printed
    assert "\n4.8283\n" in printed and "'kernel': 0, 'plain': 1" in printed


def test_the_switch_turns_a_kernel_off(tmp_path: Path) -> None:
    changed = with_kernel(SCRIPT, CAPPED_LOSS, FASTER, "train_mlx.py", on=False)
    assert "KERNEL_CAPPED_LOSS = False" in changed
    (tmp_path / "train_mlx.py").write_text(changed)
    assert asked(tmp_path) == "None 4.8283\n"


def test_a_kernel_lab_that_kept_nothing_cannot_be_installed(tmp_path: Path) -> None:
    root = example_lab(tmp_path / "lab")
    kept_kernels(root, "import mlx.core as mx\n", task=replace(CAPPED_LOSS, odd=()))
    done = command_line("kernel", "install", cwd=root)
    assert done.returncode == 1 and "capped_loss has no kept kernel yet" in done.stderr
