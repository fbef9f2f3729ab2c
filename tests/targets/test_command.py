"""Any program that prints a number: real shells, real exits."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from autoresearch_mlx.experiment import Assignment, Measurement, Progress
from autoresearch_mlx.targets.command.checks import GUARD, Check
from autoresearch_mlx.targets.command.figures import Figure
from autoresearch_mlx.targets.command.program import Command


def measure(folder: Path, run: str, seen: list[Progress] | None = None, **changes: Any) -> Measurement:
    tree, runs = folder / "tree", folder / "runs"
    tree.mkdir(exist_ok=True)
    runs.mkdir(exist_ok=True)
    if (guard := changes.pop("guard", None)) is not None:
        changes["checks"] = (Check(GUARD, guard, changes.get("timeout_seconds", 600.0)),)
    target = Command(run=run, direction="min", **{"metric": "score", **changes})
    return target.measure(Assignment(tree, runs, 42, (seen if seen is not None else []).append))


def printed(folder: Path, text: str, **changes: Any) -> Measurement:
    (folder / "said").write_text(text)
    return measure(folder, f"cat '{folder}/said'", **changes)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("METRIC score=1.5\n", 1.5),
        ("METRIC score = -2e-3\n", -0.002),
        ("METRIC score=1.5", 1.5),
        ("METRIC score=1.5\r\n", 1.5),
        ("METRIC score=1\nnoise\nMETRIC score=2\nMETRIC other=3\n", 2.0),
        ("METRIC score=nan\nMETRIC score=3\n", 3.0),
        ("METRIC score=7\n" + "x" * 300_000 + "\nlast line without an end", 7.0),
        ("x" * 300_000 + "\nMETRIC score=8\n", 8.0),
        ("\x1b[31m\xff unreadable \x00\nMETRIC score=9\n", 9.0),
        ("10 %\r100 %\rMETRIC score=10\n", 10.0),
        ("METRIC score=11\rMETRIC score=12\r", 12.0),
        ("\r[####]\x1b[K\r\x1b[2K\x1b[32mMETRIC score=13\x1b[0m\n", 13.0),
        ("\ufeffMETRIC score=14\r\n", 14.0),
        ("METRIC score=1e-9\n", 1e-9),
        ("\x1b[1mMETRIC score=\x1b[32m15\x1b(B\x1b[m\n", 15.0),  # as `tput sgr0` ends a colour
        ("50%\b\b\b100%\b\b\b\bMETRIC score=16\n", 16.0),
        ("\x1bPq#0\x1b\\METRIC score=17\n", 17.0),
        ("\x1b]0;a title without an end\nMETRIC score=18\n", 18.0),
    ],
)
def test_the_last_metric_line_is_the_value(tmp_path: Path, text: str, value: float) -> None:
    done = printed(tmp_path, text)
    assert (done.value, done.failure, done.seed, done.log) == (value, None, 42, "log.txt")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the program ended without printing METRIC score=value"),
        ("METRIC other=1\n", "without printing METRIC score=value; it printed METRIC other"),
        (
            " METRIC score=1\n",
            "without printing METRIC score=value; the line ' METRIC score=1' does not have this form",
        ),
        ("METRIC score=\n", "without printing"),
        (
            "METRIC score=1.5 s\n",
            "without printing METRIC score=value; the line 'METRIC score=1.5 s' does not have this form",
        ),
        ("Metric: score 3\n", "the line 'Metric: score 3' does not have this form"),
        ("12:00 INFO METRIC score=3\n", "the line '12:00 INFO METRIC score=3' does not have this form"),
        ("x" * 300 + " METRIC score=3\n", "x METRIC score=3' does not have this form"),
        ("\u200bMETRIC score=3\n", r"the line '\u200bMETRIC score=3' does not have this form"),
        ("METRIC score=fast\n", "score is 'fast', which is not a finite number"),
        ("METRIC score=nan\n", "score is 'nan', which is not a finite number"),
        ("METRIC score=inf\n", "score is 'inf'"),
        ("METRIC score=1\nMETRIC score=nan\n", "score is 'nan'"),
        ("METRIC score=1e400\n", "score is '1e400', which is not a finite number"),
        ("METRIC score=-1.7e308\n", "score is '-1.7e308', which is too large: the limit is 1e+100"),
    ],
)
def test_no_number_is_invalid_and_the_reason_says_what_was_printed(tmp_path: Path, text: str, reason: str) -> None:
    done = printed(tmp_path, text)
    assert (done.value, done.failure) == (None, "invalid")
    assert reason in done.reason


def test_further_metrics_are_kept_beside_it(tmp_path: Path) -> None:
    done = printed(tmp_path, "METRIC speed=3\nMETRIC score=1\nMETRIC a.b_c=4\nMETRIC bad=nan\nMETRIC speed=5\n")
    assert (done.value, done.extra) == (1.0, {"speed": 5.0, "a.b_c": 4.0})


@pytest.mark.parametrize(
    ("pattern", "text", "value", "reason"),
    [
        (r"loss: ([\d.]+)", "loss: 3.5\nloss: 2.5 (done)\n", 2.5, ""),
        (r"^\d+\.\d+$", "12.25\n", 12.25, ""),
        (r"time=(\S+)", "METRIC score=1\n", None, "without printing /time="),
        (r"loss: (\w+)", "loss: high\n", None, "score is 'high'"),
        (r"loss(: \d+)?", "loss\n", None, "score is ''"),
    ],
)
def test_a_pattern_finds_the_number_instead(
    tmp_path: Path, pattern: str, text: str, value: float | None, reason: str
) -> None:
    done = printed(tmp_path, text, pattern=pattern)
    assert done.value == value
    assert (done.failure is None) == (value is not None)
    assert reason in done.reason


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ("exit 3", "exit code 3 without an error message"),
        ("echo METRIC score=1; exit 1", "exit code 1; its last line: METRIC score=1"),
        ("no-such-program", "not found"),
        ("kill -9 $$", "signal 9"),
        ("kill -11 $$", "died of signal 11"),
        (f"{sys.executable} -c 'raise KeyError(3)'", "KeyError: 3"),
    ],
)
def test_a_failing_program_is_a_crash_with_its_last_words(tmp_path: Path, run: str, reason: str) -> None:
    done = measure(tmp_path, run)
    assert (done.value, done.failure) == (None, "crash")
    assert reason in done.reason


def test_the_program_runs_in_the_tree_with_the_seed_and_without_input(tmp_path: Path) -> None:
    done = measure(
        tmp_path, 'test "$(pwd -P)" = "$(cd ../tree && pwd -P)" && cat && echo METRIC score=$AUTORESEARCH_SEED'
    )
    assert done.value == 42.0


def test_the_log_has_the_line_and_all_that_was_said(tmp_path: Path) -> None:
    measure(tmp_path, "echo out; echo err >&2; echo METRIC score=1", guard="echo guarding")
    assert (tmp_path / "runs" / "log.txt").read_text() == (
        "$ echo guarding\nguarding\n$ echo out; echo err >&2; echo METRIC score=1\nout\nerr\nMETRIC score=1\n"
    )


def test_a_program_that_overstays_is_a_timeout(tmp_path: Path) -> None:
    began = time.monotonic()
    seen: list[Progress] = []
    done = measure(tmp_path, "echo METRIC score=1; sleep 60", seen, timeout_seconds=0.3)
    assert (done.value, done.failure, done.reason) == (None, "timeout", "did not end within 0.3 s; killed")
    assert time.monotonic() - began < 10
    assert {p.phase for p in seen} == {"train"}
    assert all(p.seconds_left is not None and p.seconds_left <= 0.3 for p in seen)


def test_a_guard_that_passes_lets_the_number_count(tmp_path: Path) -> None:
    done = measure(tmp_path, "echo METRIC score=1", guard="echo METRIC score=99; true")
    assert done.value == 1.0
    assert done.seconds.train is not None and done.seconds.evaluate is not None


@pytest.mark.parametrize(
    ("guard", "failure", "reason"),
    [
        ("exit 2", "invalid", "the guard failed: exit code 2"),
        ("echo 'AssertionError: broken'; exit 1", "invalid", "the guard failed: AssertionError: broken"),
        ("sleep 60", "timeout", "the guard failed: did not end within"),
    ],
)
def test_a_guard_that_fails_ends_it_before_the_program_runs(
    tmp_path: Path, guard: str, failure: str, reason: str
) -> None:
    done = measure(tmp_path, f"touch '{tmp_path}/ran'; echo METRIC score=1", guard=guard, timeout_seconds=0.5)
    assert (done.value, done.failure) == (None, failure)
    assert reason in done.reason
    assert done.seconds.train is None
    assert not (tmp_path / "ran").exists()


def test_python_must_parse_and_other_languages_are_the_programs_own_affair() -> None:
    target = Command("true", "score", "min")
    assert target.refuse({"a.py": "X = 1\n", "b.rs": "fn main( {"}) is None
    for text in ("X = (\n", "X = '\0'\n", "X = " + "-" * 9000 + "1\n", "X = " + "(" * 9000):
        assert (target.refuse({"a.py": text}) or "").startswith("a.py does not parse: ")
    assert target.refuse({"a.py": "X = 1\nY = 2 3 4 def\n"}) == "a.py does not parse: invalid syntax (line 2)"


@pytest.mark.slow
def test_a_program_of_some_seconds_tells_the_machines_speed_and_a_short_one_does_not(tmp_path: Path) -> None:
    spin = f"{sys.executable} -S -c 'import time; end = time.time() + 3.5\nwhile time.time() < end: pass'"
    others = f"for each in 1 2 3 4 5 6 7 8; do setsid timeout 5 {sys.executable} -S -c 'while True: pass' & done"
    subprocess.run(["/bin/sh", "-c", others], check=True)
    slow = measure(tmp_path, f"{spin}; echo METRIC score=1")
    assert slow.speed is not None and 0 < slow.speed < 0.9 and slow.stretch is None and not slow.tainted
    assert slow.disturbed_by.startswith("other programs took ") and "python" in slow.disturbed_by
    assert slow.machine["processor_share"] == slow.speed
    short = measure(tmp_path, "echo METRIC score=1")
    assert (short.speed, short.disturbed_by, short.machine) == (None, "", {})


COUNTED = """n=$(cat '{0}/runs/n' 2>/dev/null || echo 0); echo $((n + 1)) > '{0}/runs/n'; """
"""Beginning of a shell line that counts its runs; $n is the number of earlier runs."""


def test_with_repeats_the_program_runs_several_times_and_the_median_counts(tmp_path: Path) -> None:
    line = COUNTED.format(tmp_path) + "set -- 5 1 9; shift $n; echo METRIC score=$1; echo METRIC other=$n"
    done = measure(tmp_path, line, figures=(Figure("score", repeats=3),))
    assert done.value == 5.0
    assert done.extra == {"other": 2.0, "values": {"score": [5.0, 1.0, 9.0]}}


def test_a_figure_has_repeats_and_a_line_of_its_own(tmp_path: Path) -> None:
    other = COUNTED.format(tmp_path) + "echo METRIC memory=$((10 + n))"
    figures = (Figure("memory", repeats=3, run=other), Figure("score"))
    done = measure(tmp_path, "echo METRIC score=2", figures=figures)
    assert (done.value, done.extra["memory"]) == (2.0, 11.0)
    assert done.extra["values"] == {"memory": [10.0, 11.0, 12.0]}


@pytest.mark.parametrize(
    ("line", "failure", "said"),
    [
        ("true", "invalid", "the program ended without printing METRIC memory=value"),
        ("exit 3", "crash", "exit code 3"),
        ("exec sleep 60", "timeout", "did not end within 0.5 s; killed"),
    ],
)
def test_a_run_whose_other_figure_cannot_be_measured_has_no_value(
    tmp_path: Path, line: str, failure: str, said: str
) -> None:
    figures = (Figure("score"), Figure("memory", run=line))
    done = measure(tmp_path, "echo METRIC score=2", figures=figures, timeout_seconds=0.5)
    assert (done.value, done.failure) == (None, failure)
    assert said in done.reason


def test_a_figure_of_every_run_need_not_be_printed(tmp_path: Path) -> None:
    done = measure(tmp_path, "echo METRIC score=2", figures=(Figure("score"), Figure("peak_memory_mb")))
    assert done.value == 2.0


@pytest.mark.parametrize("line", ["{}", "true; {}; true"], ids=["alone", "below a shell"])
def test_the_memory_of_a_short_run_can_be_the_number_itself(tmp_path: Path, line: str) -> None:
    program = f"{sys.executable} -S -c \"import time; x = b'x' * 40_000_000; time.sleep(0.2)\""
    done = measure(tmp_path, line.format(program), metric="peak_memory_mb")
    assert done.value is not None and 38 < done.value < 60 and done.failure is None


def test_the_memory_of_the_program_that_confines_a_run_does_not_count(tmp_path: Path) -> None:
    done = measure(tmp_path, "sleep 0.2", metric="peak_memory_mb")
    assert done.value is not None and done.value < 3


def test_a_program_that_prints_its_own_memory_is_believed(tmp_path: Path) -> None:
    assert measure(tmp_path, "echo METRIC peak_memory_mb=3", metric="peak_memory_mb").value == 3.0


@pytest.mark.parametrize(
    ("second", "failure", "states"),
    [
        ("true", None, ["passed", "passed", "passed"]),
        ("echo wrong >&2; exit 1", "invalid", ["passed", "failed", "not run"]),
        ("exec sleep 60", "timeout", ["passed", "timeout", "not run"]),
    ],
)
def test_each_check_has_its_own_state_time_and_timeout(
    tmp_path: Path, second: str, failure: str | None, states: list[str]
) -> None:
    checks = (Check("first", "true", 9.0), Check("second", second, 0.5), Check("third", "true", 9.0))
    done = measure(tmp_path, "echo METRIC score=2", checks=checks)
    assert done.failure == failure
    assert [(each["name"], each["status"]) for each in done.extra["checks"]] == list(
        zip(("first", "second", "third"), states, strict=True)
    )
    assert all((each["seconds"] is None) == (each["status"] == "not run") for each in done.extra["checks"])
    assert failure is None or done.reason.startswith("the check 'second' failed: ")
