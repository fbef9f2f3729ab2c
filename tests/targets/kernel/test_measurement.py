"""Candidates are measured by real processes: cheats that look like computations fail at a gate that is named."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from autoresearch_mlx.experiment import Assignment
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.targets.kernel.children import surroundings
from autoresearch_mlx.targets.kernel.pairs import order, ratio
from autoresearch_mlx.targets.kernel.target import KernelTarget
from autoresearch_mlx.targets.kernel.task import KERNEL, REFERENCE, TASK, Array, Task, sealed, task_from
from autoresearch_mlx.trial.sandbox.detect import find_sandbox
from autoresearch_mlx.trial.sandbox.limits import Limits

REFERENCE_TEXT = (
    "import mlx.core as mx\n\n\ndef wave(x):\n    parts = [mx.tanh(x[row]) * 2 for row in range(x.shape[0])]\n"
    "    return mx.stack(parts)\n"
)
THE_TASK = Task(
    name="wave",
    function="wave",
    parameters=("x",),
    arrays=(Array("x", "float32", ("N1", "N2")),),
    constants={},
    outputs=1,
    differentiated=False,
    sizes={"N1": 8, "N2": 512},
    free=("N1", "N2"),
    odd=({"N1": 7, "N2": 511},),
    tolerance=2e-5,
    typical=2e-6,
    baselines=("eager",),
)


def target(tree: Path) -> KernelTarget:
    (tree / TASK).write_text(THE_TASK.to_json())
    (tree / REFERENCE).write_text(REFERENCE_TEXT)
    around = surroundings(read_machine(), "cpu", find_sandbox())
    return KernelTarget(THE_TASK, sealed(tree), "eager", {"N1": 5, "N2": 300}, 10.0, 120.0, around, Limits())


def candidate(tree: Path, body: str) -> Assignment:
    (tree / KERNEL).write_text(f"import mlx.core as mx\n\n\ndef kernel(x):\n    {body}\n")
    folder = tree / "run"
    folder.mkdir()
    return Assignment(tree, folder, 1, lambda progress: None)


def test_an_honest_candidate_gets_a_number_from_outside(tmp_path: Path) -> None:
    measured = target(tmp_path).measure(candidate(tmp_path, "return 2 * mx.tanh(x)"))
    assert measured.failure is None, measured.reason
    assert measured.value is not None and measured.value > 0
    assert math.exp(measured.value) == pytest.approx(measured.extra["speedup"], rel=1e-3)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return x if x.shape == (7, 511) else 2 * mx.tanh(x)", "on an odd shape"),
        ("return 2 * mx.tanh(x) if x.shape in ((8, 512), (7, 511)) else x", "on a shape drawn for this run"),
        ("return mx.full(x.shape, mx.inf) - mx.inf", "NaN or infinite"),
        ("return (2 * mx.tanh(x)).astype(mx.float16)", "is float16, not float32"),
        ("return 2 * mx.tanh(x.astype(mx.bfloat16)).astype(mx.float32)", "are off by more than"),
        ("return 2 * mx.reshape(mx.tanh(x), (8, 512)) if x.shape[0] != 7 else mx.reshape(x, (3, 3))", "ValueError"),
    ],
    ids=["odd shape", "listed shapes", "NaN", "wrong type", "precision", "crash on the odd shape"],
)
def test_a_cheat_that_runs_fails_at_a_gate_with_its_reason(tmp_path: Path, body: str, said: str) -> None:
    measured = target(tmp_path).measure(candidate(tmp_path, body))
    assert measured.value is None and measured.failure in ("invalid", "crash")
    assert said in measured.reason


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return mx.zeros_like(x)", "are off by more than"),
        ("return mx.concatenate([2 * mx.tanh(x[:4]), mx.zeros_like(x[4:])])", "are off by more than"),
        ("return 5", "has to return 1 of type mx.array"),
    ],
    ids=["constant", "writes half", "no array"],
)
def test_a_wrong_output_fails_already_in_the_smoke_run(tmp_path: Path, body: str, said: str) -> None:
    measured = target(tmp_path).smoke(candidate(tmp_path, body))
    assert measured is not None and measured.failure == "invalid"
    assert said in measured.reason


def test_a_changed_reference_is_refused(tmp_path: Path) -> None:
    found = target(tmp_path)
    (tmp_path / REFERENCE).write_text(REFERENCE_TEXT + "\n")
    measured = found.measure(candidate(tmp_path, "return 2 * mx.tanh(x)"))
    assert "a candidate changes kernel.py alone" in measured.reason


# --- numbers


def test_pairs_alternate_and_their_median_resists_one_disturbed_block() -> None:
    assert order(2) == [True, False, False, True]
    found = ratio([2.0, 2.0, 9.0], [1.0, 1.0, 1.0])
    assert found.factor == pytest.approx(2)


def test_a_task_survives_its_json() -> None:
    assert task_from(THE_TASK.to_json()) == THE_TASK
