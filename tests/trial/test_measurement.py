"""Real training and sealed evaluation of train_mlx.py and of edited versions of it, at tiny size."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_training as tiny

from autoresearch_mlx.experiment import Progress
from autoresearch_mlx.targets.corpus.rows import Corpus
from autoresearch_mlx.trial.conditions import Conditions


@pytest.mark.slow
def test_the_shipped_script_learns_and_everything_is_recorded(under: Conditions, tmp_path: Path) -> None:
    seen: list[Progress] = []
    done = tiny.measure(tiny.script(), tmp_path, under, seen=seen)
    assert done.failure is None, done.reason
    assert done.value is not None and 1.0 < done.value < 5.0
    assert done.steps is not None and done.steps > 5
    assert done.tokens == done.steps * 256 or done.tokens == (done.steps + 1) * 256
    assert done.tokens_per_second and done.peak_memory_mb and done.extra["num_params"] > 10_000
    assert done.seconds.train is not None
    assert 0.9 * under.budget_seconds <= done.seconds.train < under.budget_seconds + 10
    assert done.seconds.start and done.seconds.compile is not None and done.seconds.evaluate
    assert {p.phase for p in seen} >= {"compile", "train", "evaluate"}
    assert done.machine["device"] == "cpu"


@pytest.mark.slow
def test_a_fixed_number_of_steps_gives_the_same_weights_twice(under: Conditions, tmp_path: Path) -> None:
    fixed = replace(under, steps=6)
    first = tiny.measure(tiny.script(), tmp_path / "a", fixed)
    second = tiny.measure(tiny.script(), tmp_path / "b", fixed)
    other = tiny.measure(tiny.script(), tmp_path / "c", fixed, seed=7)
    assert first.steps == second.steps == 6
    assert second.value == tiny.score(first.value)
    assert other.value != tiny.score(first.value)


@pytest.mark.slow
def test_on_a_cpu_no_compiler_is_started(under: Conditions, tmp_path: Path) -> None:
    broken = tmp_path / "bin" / "g++"
    broken.parent.mkdir()
    broken.write_text('#!/bin/sh\n[ "$1" = --version ]\n')
    broken.chmod(0o755)
    path = f"{broken.parent}{os.pathsep}{os.environ['PATH']}"
    done = tiny.measure(tiny.script(), tmp_path, replace(under, environment={**under.environment, "PATH": path}))
    assert done.failure is None, done.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    "knobs",
    [
        pytest.param(
            {"WINDOW_PATTERN": "SL", "DEPTH": 3, "MLP_RATIO": 3, "WARMUP_RATIO": 0.1, "FINAL_LR_FRAC": 0.1},
            id="short windows, integers for floats, warm-up",
        ),
        pytest.param(
            {"TOTAL_BATCH_SIZE": 1024, "WEIGHT_DECAY": 0.0, "WARMDOWN_RATIO": 0.0, "EMBEDDING_WD": 0.01},
            id="gradient accumulation, no decay, no warm-down",
        ),
        pytest.param({"DEPTH": 2, "NS_STEPS": 2, "HEAD_DIM": 32}, id="two layers, one gated"),
    ],
)
def test_the_shipped_script_holds_over_its_knobs(knobs: dict[str, object], under: Conditions, tmp_path: Path) -> None:
    done = tiny.measure(tiny.script(**knobs), tmp_path, replace(under, steps=3))
    assert done.failure is None, done.reason
    assert done.steps == 3


def as_on_a_gpu(text: str, stream: str, compiled: bool) -> str:
    """Return the script with what it does on a GPU: fused attention and loss, a stream of this type, a compiled step."""
    for there, instead in (
        ("return bool(mx.default_device() == mx.Device(mx.gpu))", "return True"),
        ("mx.bfloat16 if on_gpu() else mx.float32", stream),
        ("    if on_gpu():\n        whole_step", f"    if {compiled}:\n        whole_step"),
    ):
        assert text.count(there) == 1, there
        text = text.replace(there, instead)
    return text


GRADIENTS = """
import importlib.util, sys
import mlx.core as mx, mlx.nn as nn
from mlx.utils import tree_flatten
mx.set_default_device(mx.cpu)
tokens = mx.array([[(7 * i * i + 3 * j) % 300 for i in range(32)] for j in range(4)])
found = []
for path in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("train_mlx", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    mx.random.seed(1)
    model = module.build_model(300, 31)
    model.apply(lambda w: w + 0.1 * mx.sin(mx.arange(w.size).reshape(w.shape)))  # no projection is zero
    loss, grads = nn.value_and_grad(model, module.loss_of)(model, tokens[:, :-1], tokens[:, 1:])
    found.append({"loss": loss, **dict(tree_flatten(grads))})
for name, here in found[0].items():
    away = mx.max(mx.abs(here - found[1][name])).item() / mx.max(mx.abs(here)).item()
    assert away < 2e-5, (name, away)
"""


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"CAP_LOGITS": False, "DEPTH": 2, "HEAD_DIM": 32},
        {"WINDOW_PATTERN": "SL", "DEPTH": 3, "SHORT_WINDOW": 0.1},
    ],
)
def test_loss_and_gradients_on_a_cpu_are_those_of_a_gpu(knobs: dict[str, object], tmp_path: Path) -> None:
    here, there = tmp_path / "cpu.py", tmp_path / "gpu.py"
    here.write_text(tiny.script(**knobs))
    there.write_text(as_on_a_gpu(tiny.script(**knobs), "mx.float32", compiled=False))
    done = subprocess.run([sys.executable, "-c", GRADIENTS, here, there], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_compiled_step_of_a_gpu_gives_the_weights_of_the_plain_one(under: Conditions, tmp_path: Path) -> None:
    """On a CPU the step is not compiled, so the test forces it; the C++ compiler takes some time for it."""
    path = f"{tiny.quick_compiler()}{os.pathsep}{os.environ['PATH']}"
    fixed = replace(under, steps=4, compile_seconds=200.0, environment={**under.environment, "PATH": path})
    plain = tiny.measure(as_on_a_gpu(tiny.script(), "mx.float32", compiled=False), tmp_path / "a", fixed)
    compiled = tiny.measure(as_on_a_gpu(tiny.script(), "mx.float32", compiled=True), tmp_path / "b", fixed)
    assert compiled.value == pytest.approx(plain.value, abs=1e-5)


@pytest.mark.slow
def test_the_bf16_stream_of_a_gpu_stays_bf16_and_starts_alike(under: Conditions, tmp_path: Path) -> None:
    """Later steps differ by more than rounding, as between any two ways of computing."""
    told = as_on_a_gpu(tiny.script(DEPTH=2), "mx.bfloat16", compiled=False)
    told = told.replace(
        "        logits = self.lm_head(", "        assert x.dtype == mx.bfloat16\n        logits = self.lm_head("
    )
    plain = tiny.measure(tiny.script(DEPTH=2), tmp_path / "a", replace(under, steps=1))
    half = tiny.measure(told, tmp_path / "b", replace(under, steps=1))
    later = tiny.measure(told, tmp_path / "c", replace(under, steps=20))
    assert half.extra["loss"] == pytest.approx(plain.extra["loss"], abs=0.05)
    assert later.failure is None, later.reason
    assert later.value is not None and half.value is not None and later.value < half.value


@pytest.mark.slow
def test_the_score_is_uniform_for_a_model_that_knows_nothing(corpus: Corpus, under: Conditions, tmp_path: Path) -> None:
    """A uniform guess costs counted tokens x log2(vocabulary) / bytes; special tokens have a weight of 0."""
    silent = tiny.script(UNEMBEDDING_INIT_STD=0.0, UNEMBEDDING_LR=0.0)
    done = tiny.measure(silent, tmp_path, replace(under, steps=1))
    targets = corpus.rows("val")[:32, 1:]
    weights = corpus.token_bytes()[targets]
    expected = (weights > 0).sum() * math.log2(under.vocab_size) / weights.sum()
    assert done.value == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_the_rows_scored_do_not_depend_on_the_batch(under: Conditions, tmp_path: Path) -> None:
    still = {"UNEMBEDDING_LR": 0.0, "UNEMBEDDING_INIT_STD": 0.0}
    values = [
        tiny.measure(tiny.script(DEVICE_BATCH_SIZE=rows, **still), tmp_path / str(rows), replace(under, steps=1)).value
        for rows in (2, 8)
    ]
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ("before", "after", "status", "reason"),
    [
        pytest.param("def train(", "raise RuntimeError('at import')\ndef train(", "crash", "RuntimeError: at import", id="raises"),
        pytest.param("loss = whole_step(*batch[0], now)", "loss = mx.array(float('nan'))", "crash", "the loss is nan at step", id="nan"),
        pytest.param("    rows, passes = batch", "    import sys; sys.exit(3)\n    rows, passes = batch", "crash", "exit code 3", id="exit code"),
        pytest.param("    rows, passes = batch", "    return\n    rows, passes = batch", "invalid", "asked for no batches", id="no training"),
        pytest.param("    harness.main(", "    print(", "invalid", "must end with harness.main", id="no harness"),
        pytest.param("    rows, passes = batch", "    import os; os.kill(os.getpid(), 9)\n    rows, passes = batch", "crash", "signal 9", id="killed"),
        pytest.param(
            "        mx.async_eval(loss, state)",
            "        model.resid_lambdas = model.resid_lambdas * float('nan')\n        mx.async_eval(loss, state)",
            "crash",
            "not finite|the loss is nan",
            id="bad weights",
        ),
    ],
)  # fmt: skip
def test_a_failing_training_is_a_status_with_a_reason(
    before: str, after: str, status: str, reason: str, under: Conditions, tmp_path: Path
) -> None:
    assert before in tiny.script()
    done = tiny.measure(tiny.script().replace(before, after, 1), tmp_path, replace(under, steps=None))
    assert (done.failure, done.value) == (status, None)
    import re

    assert re.search(reason, done.reason), done.reason
    assert (tmp_path / "run" / "log.txt").exists()


@pytest.mark.slow
def test_a_model_that_is_no_causal_language_model_is_invalid_with_the_probes_name(
    under: Conditions, tmp_path: Path
) -> None:
    """The other probes are tried in test_evaluation_cheats.py, by models in a sandbox."""
    logits, ahead = "return SOFTCAP * mx.tanh(logits / SOFTCAP)", "logits + mx.roll(logits, -1, axis=1)"
    sees = tiny.script().replace(logits, f"return logits if self.training else {ahead}", 1)
    done = tiny.measure(sees, tmp_path, replace(under, steps=2))
    assert (done.failure, done.value) == ("invalid", None), done.reason
    assert done.reason.startswith("causality"), done.reason


@pytest.mark.slow
def test_weights_that_do_not_fit_the_model_are_invalid(under: Conditions, tmp_path: Path) -> None:
    twofold = tiny.script().replace("def build_model(", "import os\nif 'AUTORESEARCH_TRAIN_SPEC' not in os.environ:\n    DEPTH = 2\n\ndef build_model(", 1)  # fmt: skip
    done = tiny.measure(twofold, tmp_path, replace(under, steps=2))
    assert done.failure == "invalid"
    assert done.reason.startswith("weights: the trained weights do not fit build_model")


def test_a_run_that_overstays_is_killed_with_all_its_children(under: Conditions, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    sleepy = tiny.script().replace(
        "    rows, passes = batch",
        f"    import subprocess, time\n    open({str(mark)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))\n"
        "    for _ in trial.batches(1):\n        time.sleep(600)\n    rows, passes = batch",
        1,
    )
    began = time.monotonic()
    done = tiny.measure(sleepy, tmp_path, replace(under, compile_seconds=0.5))
    assert done.failure == "timeout"
    assert "the first step did not end within 2 s" in done.reason
    assert time.monotonic() - began < 30
    grandchild = int(mark.read_text())
    with pytest.raises(ProcessLookupError):
        for _ in range(50):  # the kernel needs a moment to remove it
            os.kill(grandchild, 0)
            time.sleep(0.05)


@pytest.mark.slow
def test_a_flood_of_output_keeps_its_last_megabyte(under: Conditions, tmp_path: Path) -> None:
    flood = tiny.script().replace(
        "    rows, passes = batch",
        "    for i in range(60000):\n        print(i, 'x' * 90)\n    rows, passes = batch",
        1,
    )
    done = tiny.measure(flood, tmp_path, replace(under, steps=1))
    log = (tmp_path / "run" / "log.txt").read_text()
    assert done.failure is None, done.reason
    assert len(log) <= 1_100_000
    assert "59999 xxx" in log and "\n0 xxx" not in log


@pytest.mark.slow
def test_a_module_beside_the_script_does_not_replace_the_trusted_package(under: Conditions, tmp_path: Path) -> None:
    fake = tmp_path / "tree" / "autoresearch_mlx"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("raise SystemExit('the copy in the worktree was imported')\n")
    tree, run = tmp_path / "tree", tmp_path / "run"
    run.mkdir()
    (tree / "train_mlx.py").write_text(tiny.script())
    from autoresearch_mlx.experiment import Assignment
    from autoresearch_mlx.targets.pretrain.target import Pretrain

    done = Pretrain(replace(under, steps=2)).measure(Assignment(tree, run, 42, lambda progress: None))
    assert done.failure is None, done.reason


def test_rows_come_in_the_same_order_whatever_the_batch_size(corpus: Corpus, under: Conditions) -> None:
    from autoresearch_mlx.trial.harness import Trial
    from autoresearch_mlx.trial.serving import RowServer
    from autoresearch_mlx.trial.spec import Events, TrainSpec

    def first(batch: int, count: int) -> np.ndarray:  # type: ignore[type-arg]
        with RowServer(corpus.path("train"), 42, lambda: True) as server:
            now = time.monotonic()
            spec = TrainSpec(server.theirs, 300, 32, 42, 5.0, 5.0, now, 5.0, "unused", "cpu", steps=10_000)
            batches = Trial(spec, Events({})).batches(batch)
            read = np.concatenate([np.array(next(batches)[0]) for _ in range(count)])
            assert (server.batches, server.tokens) == (count, count * batch * 32)
            return read

    assert (first(2, 6) == first(4, 3)).all()
