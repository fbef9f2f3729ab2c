"""The profile of a training step: a traced graph, replays of its operations, and what is left to gain."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ROOT, command_line
from kernel_labs import example_lab, kernel_json

from autoresearch_mlx.targets.kernel.profile import profile_from
from autoresearch_mlx.targets.kernel.table import lines, picture


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_lab(tmp_path_factory.mktemp("labs") / "lab")


@pytest.fixture(scope="module")
def step(lab: Path) -> Any:
    return kernel_json(lab, "profile", "--step")


@pytest.mark.slow
def test_the_shares_of_a_step_sum_to_100(step: Any) -> None:
    assert sum(row["share"] or 0 for row in step["rows"]) == pytest.approx(100, abs=1)
    assert step["rows"][-1]["cumulative"] is None or step["rows"][-1]["cumulative"] == pytest.approx(100, abs=1)


@pytest.mark.slow
def test_the_trace_goes_through_the_gradients(step: Any) -> None:
    by_name: dict[str, int] = {}
    for row in step["rows"]:
        by_name[row["op"]] = by_name.get(row["op"], 0) + row["calls"]
    assert by_name["Tanh"] == 12 + 1, "one for each part of the loss, and the layer's"
    assert by_name["ScatterAxis"] == 12, "the gradient of each look-up"
    assert all(row["why"] == "" for row in step["rows"]), [r for r in step["rows"] if r["why"]]


def test_the_slow_function_is_the_first_of_the_functions(step: Any) -> None:
    first = step["functions"][0]
    assert (first["name"], first["function"], first["calls"]) == ("f1", "capped_loss", 1)
    assert first["differentiated"] and first["share"] > 30


@pytest.mark.slow
def test_a_function_becomes_a_lab_with_its_reference_shapes_and_a_first_candidate(lab: Path, step: Any) -> None:
    made = kernel_json(lab, "extract", step["functions"][0]["name"])
    folder = Path(made["folder"])
    assert folder == lab / "kernels" / "capped_loss"
    assert made["free"] == ["N1", "N2"] and {"N1": 95, "N2": 128} in made["odd"]
    assert "def capped_loss(" in (folder / "reference.py").read_text()
    first = (folder / "kernel.py").read_text()
    assert "def kernel(logits: mx.array, targets: mx.array, cap: float)" in first
    assert "ROWS_AT_ONCE = 8" in first and "# knob: pow2 1 256" in first
    brief = (folder / "program.md").read_text()
    assert "Row f1 of the profile of train_mlx.py" in brief and "def capped_loss(" in brief
    again = command_line("kernel", "extract", "f1", cwd=lab)
    assert again.returncode == 1 and "is not empty" in again.stderr


def test_a_row_that_does_not_exist_names_those_that_do(lab: Path, step: Any) -> None:
    done = command_line("kernel", "extract", "f9", cwd=lab)
    assert done.returncode == 1
    assert "the profile has no row 'f9'" in done.stderr and "f1 (capped_loss)" in done.stderr


@pytest.mark.slow
def test_an_operation_becomes_a_lab_too_and_one_that_moves_numbers_does_not(lab: Path, step: Any) -> None:
    number = {row["op"]: str(row["number"]) for row in step["rows"]}
    made = kernel_json(lab, "extract", number["Tanh"], "--to", "tanh")
    assert "return mx.tanh(a)" in (Path(made["folder"]) / "reference.py").read_text()
    done = command_line("kernel", "extract", number["Concatenate"], "--to", "other", cwd=lab)
    assert done.returncode == 1 and "cannot be taken out alone" in done.stderr


def test_no_row_promises_more_than_its_share(step: Any) -> None:
    for row in (*step["rows"], *step["functions"]):
        assert row["gain"] is None or 0 <= row["gain"] <= row["share"]


@pytest.mark.slow
def test_a_forward_pass_has_no_gradient(tmp_path: Path) -> None:
    found = kernel_json(example_lab(tmp_path / "lab"), "profile", "--forward", "--rows", "2", "--seq-len", "8")
    assert {row["op"] for row in found["rows"]} == {"Gather", "AddMM", "Tanh", "Add"}
    assert sum(row["share"] for row in found["rows"]) == pytest.approx(100, abs=1)


# --- what the table says


def operation(name: str, seconds: float | None, calls: int = 1, why: str = "") -> dict[str, Any]:
    inputs = [{"base": [[64, 64], "float32"], "views": [], "read": None, "value": None}]
    op = {"name": name, "arguments": [], "inputs": inputs, "outputs": [[[64, 64], "float32"]]}
    return {"operation": op, "calls": calls, "seconds": seconds, "why": why}


def made_up(*operations: dict[str, Any], step: float = 1.0) -> Any:
    found = {
        "step_seconds": [step],
        "operations": operations,
        "functions": [],
        "building_seconds": 0.1,
        "limits": {"copy_bytes_per_second": 32768 / 0.01, "flops_per_second": 1e12},
        "notes": [],
        "mlx": "0.32.4",
    }
    return profile_from(found, "train_mlx.py", "step", "cpu", "a chip")


def test_what_is_left_to_gain_follows_amdahls_law() -> None:
    slow, fast = made_up(operation("Exp", 0.04, 10), operation("Add", 0.01, 10)).rows
    assert (slow.share, slow.limit) == (pytest.approx(80), pytest.approx(4))
    assert slow.gain == pytest.approx(80 * (1 - 1 / 4))
    assert fast.gain == 0, "it is as fast as the fastest copy"


def test_an_operation_that_cannot_be_replayed_is_named_and_has_no_time() -> None:
    found = made_up(operation("Exp", 0.5), operation("Odd", None, 3, "this version of the tool cannot replay Odd"))
    text = "\n".join(lines(found, 20, 100))
    assert found.rows[-1].op == "Odd" and found.rows[-1].share is None
    assert "not replayed, so without a time: 3 calls of Odd" in text


def test_a_large_difference_from_the_measured_step_is_explained_and_a_small_one_is_only_shown() -> None:
    far = "\n".join(lines(made_up(operation("Exp", 0.5)), 20, 100))
    assert "replays together 500.000 ms, measured step 1000.000 ms (50 %)" in far
    assert "remainder 500.000 ms: building the graph takes 100.000 ms" in far
    near = "\n".join(lines(made_up(operation("Exp", 0.8)), 20, 100))
    assert "(80 %)" in near and "remainder" not in near


def test_the_picture_has_a_bar_for_each_row_and_is_safe_xml() -> None:
    drawn = picture(made_up(operation("Exp", 0.5), operation("A<b", 0.25)))
    assert drawn.count('fill="#2f6db3"') == 2
    assert "A&lt;b" in drawn and "A<b" not in drawn


# --- scripts that cannot be profiled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("X = 1 / 0\n", "train_mlx.py cannot be imported: ZeroDivisionError: division by zero"),
        ("def build_model(v, s): ...\n", "the script has no train()"),
    ],
)
def test_a_script_that_cannot_be_profiled_says_why(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "train_mlx.py").write_text(text)
    done = command_line("kernel", "profile", cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.slow
def test_a_step_that_reads_a_value_on_the_way_is_named(tmp_path: Path) -> None:
    lab = example_lab(tmp_path / "lab")
    script = lab / "train_mlx.py"
    script.write_text(
        script.read_text().replace(
            "        loss, grads = gradient", "        float(x.sum().item())\n        loss, grads = gradient"
        )
    )
    done = command_line("kernel", "profile", cwd=lab)
    assert done.returncode == 1
    assert "reads the value of an array in the middle of a step" in done.stderr


# --- the page


@pytest.mark.slow
def test_the_console_of_the_page_about_kernels_runs_as_written(tmp_path: Path) -> None:
    (script,) = re.findall(r"^```console\n(.*?)^```", (ROOT / "docs" / "kernels.md").read_text(), re.M | re.S)
    lab = example_lab(tmp_path / "lab")
    for line in script.splitlines():
        done = command_line(*line.removeprefix("$ autoresearch-mlx ").split(), cwd=lab)
        assert done.returncode == 0, done.stderr
    assert "next: cd " in done.stdout and (lab / "kernels" / "capped_loss" / "kernel.py").exists()


@pytest.mark.parametrize("place", ["nowhere/bars.svg", "."])
def test_a_picture_that_has_no_place_is_refused_before_anything_is_measured(place: str, tmp_path: Path) -> None:
    lab = example_lab(tmp_path / "lab")
    done = command_line("kernel", "profile", "--picture", place, cwd=lab)
    assert (done.returncode, done.stdout) == (1, "") and "is in a folder that does not exist" in done.stderr


@pytest.mark.slow
def test_a_profile_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    lab = example_lab(tmp_path / "lab")
    (lab / "train_mlx.py").write_text("while True:\n    pass\n")
    parent = psutil.Popen([sys.executable, "-m", "autoresearch_mlx", "kernel", "profile"], cwd=lab)
    waits = time.monotonic() + 30
    while not (children := parent.children(recursive=True)) and time.monotonic() < waits:
        time.sleep(0.05)
    parent.terminate()
    assert parent.wait(30) != 0 and children
    assert psutil.wait_procs(children, timeout=10)[1] == []
