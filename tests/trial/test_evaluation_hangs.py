"""If a process of the evaluation waits for a lock, the machine has failed; if it is slow, the machine has not."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_training as tiny

from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.evaluator import greet
from autoresearch_mlx.trial.exchange import Frame, Hung, Respondent
from autoresearch_mlx.trial.runner import trusted_environment

FRAME = Frame(1, 4, 8)
INPUTS = np.zeros((1, 4), np.int32)
ANSWERS = """\
import json, os, sys, time
asks, answers, log = int(sys.argv[1]), int(sys.argv[2]), {log!r}
def note(word):
    with open(log, "a") as file:
        file.write(word + "\\n")
while ask := os.read(asks, 4):
    note("asked {name}")
    {first}
    note("answers {name}")
    os.write(answers, json.dumps({{"slot": ask[0], "logits": "float32"}}).encode() + b"\\n")
"""


def model(name: str, log: Path, first: str = "pass") -> Respondent:
    code = ANSWERS.format(log=str(log), name=name, first=first)
    return Respondent([sys.executable, "-S", "-c", code], os.environ, FRAME)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "log"


def test_the_second_model_is_first_asked_when_the_first_has_answered(log: Path) -> None:
    with model("one", log, "time.sleep(0.1)") as one, model("two", log) as two:
        greet([one, two], INPUTS, 60.0)
    assert log.read_text().split("\n")[:4] == ["asked one", "answers one", "asked two", "answers two"]


def test_a_model_that_waits_for_a_lock_has_hung(log: Path) -> None:
    began = time.monotonic()
    with model("one", log, "time.sleep(600)") as one, pytest.raises(Hung, match="no answer for 1 s"):
        one.ask(INPUTS)
        one.answer(patience=0.7)
    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_a_model_that_computes_for_long_is_waited_for(log: Path) -> None:
    spin = "end = time.process_time() + 1.5\n    while time.process_time() < end: pass"
    with model("one", log, spin) as one:
        one.ask(INPUTS)
        assert one.answer(patience=0.6).logits == "float32"


@pytest.mark.slow
def test_a_lock_that_both_processes_of_an_evaluation_want_taints_the_run(under: Conditions, tmp_path: Path) -> None:
    """As with a slot of Metal's cache, the process that takes the lock first keeps it as long as it lives."""
    lock = f"""
import fcntl, sys
LOCK = open({str(tmp_path / "lock")!r}, "w")
if "autoresearch_mlx.trial.logits" in " ".join(sys.orig_argv):
    fcntl.flock(LOCK, fcntl.LOCK_EX)
def build_model("""
    text = tiny.script().replace("\ndef build_model(", lock, 1)
    began = time.monotonic()
    done = tiny.measure(text, tmp_path / "run", replace(under, steps=2, answer_seconds=4.0))
    assert (done.tainted, done.value, done.failure) == (True, None, "interrupted")
    assert "neither answered nor computed" in done.reason and done.extra["fault"] == "machine"
    assert time.monotonic() - began < 90


def test_our_own_processes_read_no_kernels_that_others_have_compiled() -> None:
    assert trusted_environment({})["MTL_SHADER_CACHE_SIZE"] == "0"
