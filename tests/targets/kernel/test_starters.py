"""The starters: a reference, shapes, a candidate that passes the gates, and a Metal one that is only checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import command_line
from kernel_labs import assignment, example_lab, kept_kernels, kernel_json, target

from autoresearch_mlx.targets.kernel.candidate import read_candidate
from autoresearch_mlx.targets.kernel.gpu_source import geometry_refused
from autoresearch_mlx.targets.kernel.starters import STARTERS, Starter
from autoresearch_mlx.targets.kernel.task import Array, Task, read_task

NAMES = [starter.name for starter in STARTERS]


def small_task(starter: Starter) -> Task:
    """Return a starter's task with sizes of a few dozen, so that a test is over soon."""
    sizes: dict[str, int] = {}
    arrays, constants = [], {}
    for name, value in starter.arguments["cpu"]:
        if not isinstance(value, tuple):
            constants[name] = value
            continue
        shape, kind = value
        axes: list[str | int] = [1 if size == 1 else f"N{size}" for size in shape]
        sizes |= {f"N{size}": max(3, size // 16) for size in shape if size > 1}
        bound = arrays[0].axes[-1] if "int" in kind else None
        arrays.append(Array(name, kind, tuple(axes), below=bound))
    rough = any(array.dtype == "bfloat16" for array in arrays)
    return Task(
        name=starter.name,
        function=starter.name,
        parameters=tuple(name for name, _ in starter.arguments["cpu"]),
        arrays=tuple(arrays),
        constants=constants,
        outputs=starter.outputs,
        differentiated=starter.differentiated,
        sizes=sizes,
        free=tuple(sizes),
        odd=({name: at + 1 for at, name in enumerate(sizes)},),
        tolerance=0.03 if rough else 2e-5,
        typical=8e-3 if rough else 4e-6,
        baselines=("eager",),
    )


@pytest.mark.slow
@pytest.mark.parametrize("starter", STARTERS, ids=NAMES)
def test_the_first_candidate_of_a_starter_passes_the_gates(starter: Starter, tmp_path: Path) -> None:
    found = target(tmp_path, small_task(starter), starter.text("reference"))
    measured = found.measure(assignment(tmp_path, starter.text("kernel")))
    assert measured.failure is None, measured.reason
    assert measured.value is not None and measured.extra["form"] == "mlx"


@pytest.mark.parametrize("starter", STARTERS, ids=NAMES)
def test_the_metal_candidate_of_a_starter_passes_the_static_gates_and_has_a_geometry(starter: Starter) -> None:
    task, text = small_task(starter), starter.text("metal")
    found = read_candidate(text, task)
    assert found.forms == ("metal",)
    space: dict[str, Any] = {}
    exec(text, space)  # our own file
    for device in ("cpu", "gpu"):
        given = {name: value[0] for name, value in starter.arguments[device] if isinstance(value, tuple)}
        assert geometry_refused(space["launch"](given)) is None


@pytest.mark.parametrize("starter", STARTERS, ids=NAMES)
def test_a_starter_has_the_same_arguments_on_both_devices(starter: Starter) -> None:
    cpu, gpu = (dict(starter.arguments[device]) for device in ("cpu", "gpu"))
    assert list(cpu) == list(gpu)
    for name, value in cpu.items():
        assert not isinstance(value, tuple) or len(value[0]) == len(gpu[name][0])


@pytest.mark.slow
def test_extract_makes_a_lab_of_a_starter(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").touch()
    made = kernel_json(tmp_path, "extract", "--starter", "symmetric_product")
    folder = Path(made["folder"])
    assert folder == tmp_path / "kernels" / "symmetric_product" and made["free"] == ["N1", "N2", "N3"]
    task = read_task(folder)
    assert (task.outputs, task.differentiated, task.script) == (1, False, "")
    assert "METAL" in (folder / "kernel_metal.py").read_text() and "METAL" not in (folder / "kernel.py").read_text()
    assert "This task is a starter" in (folder / "program.md").read_text()


def test_starters_are_listed_and_an_unknown_one_names_them(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").touch()
    assert [
        each["name"] for each in json.loads(command_line("kernel", "starters", "--json", cwd=tmp_path).stdout)
    ] == NAMES
    done = command_line("kernel", "extract", "--starter", "softmax", cwd=tmp_path)
    assert done.returncode == 1 and NAMES[0] in done.stderr
    for wrong in (["extract"], ["extract", "f1", "--starter", NAMES[0]]):
        assert command_line("kernel", *wrong, cwd=tmp_path).returncode == 2


@pytest.mark.slow
def test_a_starter_finds_its_place_in_a_script_that_has_such_a_function(tmp_path: Path) -> None:
    starter = next(each for each in STARTERS if each.name == "norm_residual")
    root = example_lab(tmp_path / "lab")
    script, plain = root / "train_mlx.py", (root / "train_mlx.py").read_text()
    function = starter.text("reference").split("\n\n\n")[1]
    called = "x, n = norm_residual(x, 0.5 * x, mx.array([0.9]), mx.array([0.1]))\n        return self.head(n"
    script.write_text(
        plain.replace("return self.head(x", called).replace("class Model", f"{function}\n\n\nclass Model")
    )
    kept_kernels(root, starter.text("kernel"), task=replace(small_task(starter), script=""))
    (found,) = kernel_json(root, "verify", "--processes", "2", "--pairs", "2")
    assert found["factor"] is not None, found["unused"]
    assert found["functions"] == ["norm_residual"] and found["partly"] == ""
    script.write_text(plain)
    done = command_line("kernel", "install", cwd=root)
    assert done.returncode == 1 and "does not define norm_residual()" in done.stderr
    assert "in the step, call a function like the one in reference.py" in done.stderr
