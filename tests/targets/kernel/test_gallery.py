"""A gallery of fifteen kinds of kernel cheats.  Each ends with a status and a reason that names what it did."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from kernel_labs import WAVE, assignment, candidate, target

from autoresearch_mlx.experiment import Assignment

STATIC = {
    "calls the reference": ["return reference(x)", "return wave(x)"],
    "remembers by seed or pointer": [
        "return [x][id(x)]",
        "return x.data_ptr",
        "return mx.random.key(x)",
        "global kept\n    kept = x\n    return x",
    ],
    "patches mx or time": [
        "mx.eval = abs\n    return x",
        "mx.fast.rope = x\n    return x",
        "time.time = abs\n    return x",
    ],
    "works in another stream or thread": [
        "return mx.add(x, x, stream=mx.cpu)",
        "return mx.multiply(x, 2, s=mx.cpu)",
        "return mx.new_stream(x)",
        "return threading.Thread(x)",
    ],
    "returns a lazy value": ["return lambda: x + x", "mx.async_eval(x)\n    return x", "yield x"],
    "changes its inputs in place": ["x[0] = 0\n    return x + x", "x += x\n    return x", "x[:, 0] *= 2\n    return x"],
    "starts a timer late": [
        "import time\n    return x",
        "return time.perf_counter()",
        "mx.synchronize()\n    return x",
        "return __import__('time').sleep(x)",
    ],
}
"""Kinds of cheats that the static gates refuse, so that none of them ever runs."""


@pytest.mark.parametrize(
    ("kind", "body"), [(kind, body) for kind, bodies in STATIC.items() for body in bodies], ids=lambda value: value[:40]
)
def test_a_cheat_that_more_than_computes_never_runs(tmp_path: Path, kind: str, body: str) -> None:
    measured = target(tmp_path).measure(candidate(tmp_path, body))
    assert (measured.value, measured.failure) == (None, "invalid"), kind
    assert measured.reason.startswith("static gate: line "), measured.reason
    assert measured.seconds.train is None


SMOKE = {
    "constant output": ("return mx.zeros_like(x)", "are off by more than"),
    "writes half": ("return mx.concatenate([2 * mx.tanh(x[:4]), mx.zeros_like(x[4:])])", "are off by more than"),
    "writes nothing": ("return mx.full(x.shape, mx.inf) * 0", "NaN or infinite (or were never written)"),
    "returns a lazy value": ("return (2 * mx.tanh(x) for _ in range(1))", "it returned (generator)"),
    "NaN that compares equal": ("return mx.full(x.shape, mx.inf) - mx.inf", "NaN or infinite"),
    "wrong dtype": ("return (2 * mx.tanh(x)).astype(mx.float16)", "is float16, not float32"),
    "precision drop": ("return 2 * mx.tanh(x.astype(mx.bfloat16)).astype(mx.float32)", "are off by more than"),
    "returns no array": ("return 5", "has to return 1 of type mx.array"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("body", "said"), SMOKE.values(), ids=list(SMOKE))
def test_a_wrong_output_fails_already_in_the_smoke_run(tmp_path: Path, body: str, said: str) -> None:
    measured = target(tmp_path).smoke(candidate(tmp_path, body))
    assert measured is not None and measured.failure == "invalid"
    assert said in measured.reason


RUN = {
    "right only for the listed shapes": (
        "return 2 * mx.tanh(x) if x.shape in ((8, 512), (7, 511)) else x",
        "on a shape drawn for this run",
    ),
    "wrong on an odd shape": ("return x if x.shape == (7, 511) else 2 * mx.tanh(x)", "on an odd shape"),
    "crashes on the odd shape": (
        "return 2 * mx.reshape(mx.tanh(x), (8, 512)) if x.shape[0] != 7 else mx.reshape(x, (3, 3))",
        "ValueError",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("body", "said"), RUN.values(), ids=list(RUN))
def test_a_cheat_that_runs_fails_at_a_gate_with_its_reason(tmp_path: Path, body: str, said: str) -> None:
    measured = target(tmp_path).measure(candidate(tmp_path, body))
    assert measured.value is None and measured.failure in ("invalid", "crash")
    assert said in measured.reason


# --- gates that a candidate cannot fail with the listed names: the reference runs in its place, and misbehaves


def misbehaving(tree: Path, reference: str, differentiated: bool = False) -> tuple[str | None, str]:
    """Measure the empty candidate, for which the reference runs; return the failure and its reason."""
    found = target(tree, replace(WAVE, differentiated=differentiated), reference)
    measured = found.measure(assignment(tree, "import mlx.core as mx\n"))
    assert measured.value is None
    return measured.failure, measured.reason


@pytest.mark.slow
def test_ghost_replay_refuses_a_task_that_a_no_op_passes(tmp_path: Path) -> None:
    reference = "import mlx.core as mx\n\n\ndef wave(x):\n    return 0 * x + mx.array(float('nan'))\n"
    failure, reason = misbehaving(tmp_path, reference)
    assert failure == "invalid" and "ghost replay: a function that computes nothing passes too" in reason


@pytest.mark.slow
def test_two_calls_with_different_bits_fail_even_if_both_are_right(tmp_path: Path) -> None:
    reference = (
        "import mlx.core as mx\n\n\ndef wave(x):\n    return 2 * mx.tanh(x) + 1e-7 * mx.random.uniform(shape=x.shape)\n"
    )
    failure, reason = misbehaving(tmp_path, reference)
    assert failure == "invalid" and "a second time: two calls on the same inputs gave different bits" in reason


LATE = """\
import mlx.core as mx

calls = [0]


def wave(x):
    calls[0] += 1
    return 2 * mx.tanh(x) if calls[0] < 60 else x
"""


@pytest.mark.slow
def test_outputs_that_change_once_the_timer_runs_are_found_after_it(tmp_path: Path) -> None:
    failure, reason = misbehaving(tmp_path, LATE)
    assert failure == "invalid" and reason.startswith("on the outputs of the last timed call: output 1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return mx.stop_gradient(2 * mx.tanh(x))", r"the gradient of input 1: 4,0[89]\d of 4,096 numbers are off"),
        ("y = 2 * mx.tanh(x)\n    return y + 0.5 * (x - mx.stop_gradient(x))", "the gradient of input 1"),
        (
            "return 2 * mx.tanh(mx.concatenate([x[:7], mx.stop_gradient(x[7:])]))",
            r"the gradient of input 1: 5[01]\d of 4,096",
        ),
    ],
    ids=["none", "too large", "of some rows only"],
)
def test_a_right_output_with_a_wrong_gradient_fails(tmp_path: Path, body: str, said: str) -> None:
    """The inputs are drawn anew each time, so a number or two may be right by chance."""
    order: Assignment = candidate(tmp_path, body)
    measured = target(tmp_path, replace(WAVE, differentiated=True)).smoke(order)
    assert measured is not None and measured.failure == "invalid"
    assert re.search(said, measured.reason), measured.reason
