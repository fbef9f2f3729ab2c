"""What a kept kernel gains for the whole training step is measured in pairs, and is the first number in the report."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import command_line
from kernel_labs import FASTER, example_lab, kept_kernels, kernel_json

from autoresearch_mlx.report.page.gather import page_of
from autoresearch_mlx.report.page.markdown import render_text
from autoresearch_mlx.setup.kernel_steps import InStep
from autoresearch_mlx.store.locks import locked

OTHER = "def loss_again(*a):\n    return a[0].sum(-1)\n\n\n"
PAIRS = ("--processes", "2", "--pairs", "2")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = example_lab(tmp_path_factory.mktemp("labs") / "lab")
    kept_kernels(root, "import mlx.core as mx\n", FASTER)
    return root


@pytest.mark.slow
def test_verify_measures_the_whole_step_and_its_number_leads(lab: Path) -> None:
    before = (lab / "train_mlx.py").read_bytes()
    kernel_lab = lab / "kernels" / "capped_loss"
    status = command_line("status", cwd=kernel_lab)
    assert "whole step   not measured yet" in status.stdout
    (found,) = kernel_json(lab, "verify", *PAIRS)
    assert found["kernels"] == ["capped_loss, experiment 1 of capped_loss"]
    assert found["low"] <= found["factor"] <= found["high"] and found["factor"] > 1
    assert found["mlx"] and found["chip"] and found["clock"] == "processor"
    assert found["apart"] is not None and found["apart"] < 1e-4
    assert (lab / "train_mlx.py").read_bytes() == before
    status = command_line("status", "--json", cwd=kernel_lab)
    assert json.loads(status.stdout)["whole_step"] == found["words"]
    said = render_text(page_of(kernel_lab / ".autoresearch" / "night", kernel_lab))
    assert f"{found['factor']:.3f} times as fast" in said.split("log")[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("capped_loss(logits.reshape", "loss_again(logits.reshape"), "the step does not call it"),
        (("return mx.mean(capped_loss(", "return mx.mean(0 * capped_loss("), "give the same losses and weights"),
    ],
    ids=["not called", "not used"],
)
def test_a_kernel_that_the_step_does_not_use_gets_no_number(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    root = example_lab(tmp_path / "lab")
    text = (root / "train_mlx.py").read_text()
    (root / "train_mlx.py").write_text(
        text.replace(*change).replace(
            "def build_model", "def loss_again(*a):\n    return a[0].sum(-1)\n\n\ndef build_model"
        )
    )
    kept_kernels(root, FASTER)
    (found,) = kernel_json(root, "verify", *PAIRS)
    assert found["factor"] is None and said in found["unused"] and said in found["words"]


@pytest.mark.slow
def test_calls_that_the_kernel_does_not_cover_are_counted_and_explained(tmp_path: Path) -> None:
    root = example_lab(tmp_path / "lab")
    script = root / "train_mlx.py"
    twice = "return mx.mean(capped_loss(logits[0], y[0], 20.0)) + mx.mean(capped_loss("
    script.write_text(script.read_text().replace("return mx.mean(capped_loss(", twice))
    kept_kernels(root, FASTER)
    (found,) = kernel_json(root, "verify", *PAIRS)
    assert found["factor"] is not None
    assert "the kernel runs in 50 % of the calls of capped_loss; in the other calls, cap is 20.0" in found["partly"]


def test_a_session_in_use_is_not_measured(lab: Path) -> None:
    with locked(lab / "kernels" / "capped_loss" / ".autoresearch" / "night"):
        done = command_line("kernel", "verify", *PAIRS, cwd=lab)
    assert done.returncode == 1 and "session night is in use" in done.stderr


def test_a_script_without_the_function_has_no_place_for_the_kernel(tmp_path: Path) -> None:
    root = example_lab(tmp_path / "lab")
    kept_kernels(root, FASTER)
    script = root / "train_mlx.py"
    script.write_text(script.read_text().replace("capped_loss", "other_loss"))
    done = command_line("kernel", "verify", cwd=root)
    assert done.returncode == 1 and "no longer defines capped_loss() at the top level" in done.stderr


def test_without_a_kernel_lab_verify_names_the_command_that_makes_one(tmp_path: Path) -> None:
    done = command_line("kernel", "verify", cwd=example_lab(tmp_path / "lab"))
    assert done.returncode == 1 and "kernel extract f1" in done.stderr


# --- words

MEASURED = InStep(
    *(("f, experiment 3 of f",), ("f",), "train_mlx.py", 1.1, 1.05, 1.15, 5, 6, 1e-3, 9e-4, "processor", 0.0),
    *("0.32.4", "a chip", ""),
)


@pytest.mark.parametrize(
    ("low", "high", "verdict", "said"),
    [
        (
            1.05,
            1.15,
            "faster",
            "1.100 times as fast (90 %: 1.050 to 1.150; MLX 0.32.4, a chip)",
        ),
        (0.98, 1.22, "no difference", "no gain that can be told apart from chance: "),
        (0.80, 0.90, "slower", "so it is slower"),
        (math.inf, math.inf, "faster", "MLX 0.32.4"),
    ],
)
def test_a_gain_is_claimed_only_if_its_interval_is_clear_of_one(
    low: float, high: float, verdict: str, said: str
) -> None:
    found = replace(MEASURED, low=low, high=high)
    assert found.verdict == verdict and said in found.words()
