"""What the checks of the self-test conclude from given measurements of machines that nobody here has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from history_cases import tried

from autoresearch_mlx.experiment import Assignment, History, Status
from autoresearch_mlx.setup.selftest.machine_checks import holders, judge_memory, judge_products, judge_speed
from autoresearch_mlx.setup.selftest.night import judge_resume
from autoresearch_mlx.setup.selftest.runs import (
    judge_evaluations,
    judge_steps,
    judge_training,
    read_weights,
    weights_off,
)
from autoresearch_mlx.setup.selftest.scene import Scored, Trained
from autoresearch_mlx.store.ledger import Journal, Open

SAMPLES = Path(__file__).parents[1] / "hardware" / "samples"


def line(name: str, off: float, allowed: float = 0.002) -> str:
    return json.dumps({"name": name, "off": off, "allowed": allowed})


def test_products_that_agree() -> None:
    done = judge_products(f"{line('a', 1e-6)}\n{line('b', 1e-3)}\n", 0, "", "gpu")
    assert (done.state, done.words) == ("ok", "2 results agree with numpy's on the gpu (the worst: b, 0.001)")


@pytest.mark.parametrize("off", [0.5, float("nan"), 1e9])
def test_one_wrong_product_is_named(off: float) -> None:
    done = judge_products(f"{line('a', 1e-6)}\n{line('sixteen rows', off)}\n", 0, "", "gpu")
    assert done.state == "fail" and done.words.startswith("1 of 2 results are wrong: sixteen rows: off by ")


def test_mlx_that_dies_between_two_products_is_no_agreement() -> None:
    done = judge_products(line("a", 1e-6), -6, "Traceback\nRuntimeError: [metal] no\n", "gpu")
    assert (done.state, done.words) == ("fail", "MLX failed after 1 comparisons: RuntimeError: [metal] no")


def test_memory_of_arrays_that_the_system_does_not_count_deserves_a_look() -> None:
    array = {"mlx_mb": 256.0, "seen_mb": 3.0, "recommended": 12 * 2**30, "buffer": None}
    done = judge_memory(array, 0.6, 8 * 2**30)
    assert done.state == "note" and "does not see MLX's arrays" in done.words
    assert judge_memory({**array, "seen_mb": 260.0}, 0.6, 8 * 2**30).state == "ok"
    assert judge_memory({**array, "seen_mb": 260.0}, 0.6, 16 * 2**30).state == "note", "more than Metal recommends"
    assert judge_memory({**array, "mlx_mb": 0.0}, 0.6, None).state == "fail"


def test_the_spread_of_the_speed_probe() -> None:
    assert judge_speed([100.0, 101.0, 99.0], "gpu").words == "3 probes on the gpu: 100 GFLOP/s (-1 to +1 %)"
    assert judge_speed([100.0, 101.0, 60.0], "cpu").state == "note"


def test_evaluations_of_the_same_weights_must_agree() -> None:
    same = [Scored(2.0, 1.0), Scored(2.0001, 3.0), Scored(2.0, 1.0)]
    assert judge_evaluations(same, "cpu").words == "3 in a row, 1.0 s each (the slowest 3.0 s), all with the same score"
    done = judge_evaluations([*same, Scored(2.1, 1.0)], "gpu")
    assert done.state == "fail" and "scored between 2.000000 and 2.100000" in done.words


def trained(steps: int) -> Trained:
    here = Path()
    return Trained(Assignment(here, here, 0, lambda progress: None), {"train": 20.0}, steps, steps * 2048, 3.0)


def test_a_compiled_training_must_score_as_the_plain_one() -> None:
    good = judge_training(trained(100), trained(100), (2.01, 2.0), 0.0)
    assert good.state == "ok" and good.words.startswith(
        "100 steps: compiled 20.0 s, val_bpb 2.0100; plain 20.0 s, 2.0000"
    )
    assert judge_training(trained(100), trained(100), (2.05, 2.0), 0.0).state == "fail"
    assert judge_training(trained(100), trained(99), (2.0, 2.0), 0.0).state == "fail"


def test_the_first_steps_must_be_the_same() -> None:
    assert judge_steps(6.0, 6.0, 0.0, "cpu") is None
    assert judge_steps(6.0, 6.05, 0.4, "gpu") is None, "bfloat16 rounds"
    for wrong in (
        judge_steps(6.0, 6.1, 0.0, "cpu"),
        judge_steps(6.0, 6.0, 0.01, "cpu"),
        judge_steps(5.0, 6.0, 0.0, "gpu"),
    ):
        assert wrong is not None and wrong.state == "fail"
    nan = judge_steps(float("nan"), 6.0, 0.0, "gpu")
    assert nan is not None and nan.state == "fail"


def weights(path: Path, **arrays: list[list[float]]) -> Path:
    """Write a safetensors file of float32 arrays."""
    header, data = {"__metadata__": {"format": "mlx"}}, b""
    for name, values in arrays.items():
        raw = np.array(values, "<f4").tobytes()
        header[name] = {  # type: ignore[assignment]
            "dtype": "F32", "shape": list(np.shape(values)), "data_offsets": [len(data), len(data) + len(raw)],
        }  # fmt: skip
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_how_far_two_files_of_weights_differ(tmp_path: Path) -> None:
    start = weights(tmp_path / "start", a=[[0.0, 0.0]], b=[[1.0, 1.0]])
    one = weights(tmp_path / "one", a=[[3.0, 4.0]], b=[[1.0, 2.0]])
    two = weights(tmp_path / "two", a=[[3.0, 4.5]], b=[[1.0, 2.0]])
    assert read_weights(one)["b"].tolist() == [[1.0, 2.0]]
    assert weights_off(one, one, start) == 0.0
    assert weights_off(two, one, start) == pytest.approx(0.1)


def test_the_helper_is_found_in_the_lists_of_both_systems() -> None:
    mac = (SAMPLES / "public" / "assertions-display-on.txt").read_text()
    assert holders(mac, "Darwin") == {"34884"}
    linux = "WHO              UID USER PID  COMM            WHAT       WHY                       MODE\n"
    linux += "autoresearch-mlx 0   root 4711 systemd-inhibit idle:sleep an experiment is measured block\n"
    assert holders(linux, "Linux") == {"4711"}
    assert holders("No inhibitors.", "Linux") == set()


# --- after kill -9


def journal(*statuses: Status, numbers: tuple[int, ...] | None = None, running: tuple[Open, ...] = ()) -> Journal:
    done = tuple(tried(n, status) for n, status in zip(numbers or range(len(statuses)), statuses, strict=True))
    return Journal({}, History(done, "val_bpb", "min"), running)


def test_a_run_that_went_on_without_loss() -> None:
    done = judge_resume(journal("keep", "interrupted", "discard"), 0)
    assert done.state == "ok" and "experiment 1 interrupted, experiment 2 discard; nothing was lost" in done.words


@pytest.mark.parametrize(
    ("found", "left", "said"),
    [
        (None, 0, "could not be read"),
        (journal("keep", "interrupted", "discard", numbers=(0, 1, 1)), 0, "lost or counted twice"),
        (journal("keep", "interrupted", "discard", numbers=(0, 1, 3)), 0, "lost or counted twice"),
        (journal("keep", "keep", running=(Open(2, "", ""),)), 0, "lost or counted twice"),
        (journal("keep", "discard", "discard"), 0, "does not say what was interrupted"),
        (journal("keep", "interrupted", "keep"), 2, "2 processes of the killed run have not ended"),
    ],
)
def test_what_is_lost_or_left_over_is_said(found: Journal | None, left: int, said: str) -> None:
    done = judge_resume(found, left)
    assert done.state == "fail" and said in done.words
