"""`doctor --selftest`: a real run at a tiny size, and faults that are planted are found."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import tiny_training as tiny
from conftest import command_line, command_line_from_scratch

from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.setup.selftest.blot import Blot
from autoresearch_mlx.setup.selftest.check import Check, Finding, Ground, Result
from autoresearch_mlx.setup.selftest.checks import CHECKS, check_named
from autoresearch_mlx.setup.selftest.conduct import conduct
from autoresearch_mlx.setup.selftest.report import block, document, line_of, summary
from autoresearch_mlx.trial.orphans import WORKS_IN


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return tiny.lab(tmp_path_factory.mktemp("selftest") / "lab", tiny.settings(20))


@pytest.fixture
def ground(lab: Lab, tmp_path: Path) -> Ground:
    return Ground(tmp_path, lab.root, seconds=0.5, evaluations=2, probes=2)


def found(ground: Ground, *names: str, limit: float | None = None) -> dict[str, Result]:
    checks = [check_named(name) for name in names]
    checks = checks if limit is None else [replace(check, limit=limit) for check in checks]
    return {each.name: each.result for each in conduct(checks, ground, lambda words: None)}


def left_behind(folder: Path) -> list[psutil.Process]:
    """Return the running processes that were started for a worktree below a folder."""

    def works(process: psutil.Process) -> bool:
        try:
            where = process.environ().get(WORKS_IN, "")
            return where.startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    return [process for process in psutil.process_iter() if works(process)]


# --- a real run


@pytest.mark.slow
def test_on_this_machine_every_check_ends_and_leaves_nothing_behind(ground: Ground) -> None:
    told: list[str] = []
    done = list(conduct(CHECKS, ground, told.append))
    assert [each.name for each in done] == [check.name for check in CHECKS]
    failed = {each.name: each.result.words for each in done if each.result.state == "fail"}
    assert failed == {}
    words = {each.name: each.result.words for each in done}
    assert "results agree with numpy's on the cpu" in words["products"]
    assert words["evaluations"].startswith("2 in a row, ") and words["evaluations"].endswith("all with the same score")
    assert "weights after 4 steps differ by" in words["training"]
    assert "experiment 1 interrupted" in words["resume"] and "nothing was lost" in words["resume"]
    assert "was ended after" in words["memory"]
    assert "evaluations: evaluation 2 of 2" in told
    assert left_behind(ground.folder) == [] and list(ground.folder.iterdir()) == []


@pytest.mark.slow
def test_the_command_prints_a_line_a_check_and_a_fenced_block(lab: Lab) -> None:
    done = command_line("doctor", "--selftest", "--only", "outputs", "--only", "clocks", cwd=lab.root)
    assert done.returncode == 0
    first, second, _, fence, *_ = done.stdout.splitlines()
    assert first.split()[:2] == ["outputs", "ok"] and second.split()[:2] == ["clocks", "ok"]
    assert fence == "```text" and done.stdout.rstrip().endswith("```")
    assert "$ git --version" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("no check failed; it took 0:0")


@pytest.mark.slow
def test_the_command_prints_json(lab: Lab) -> None:
    done = command_line("doctor", "--selftest", "--only", "outputs", "--json", cwd=lab.root)
    said = json.loads(done.stdout)
    assert set(said) == {"took_seconds", "facts", "checks", "outputs"}
    assert [(each["name"], each["state"]) for each in said["checks"]] == [("outputs", "ok")]
    assert said["facts"]["python"].startswith(f"{sys.version_info.major}.")


def test_options_of_the_self_test_are_checked(lab: Lab) -> None:
    done = command_line("doctor", "--selftest", "--only", "prodcts", cwd=lab.root)
    assert done.returncode == 2 and "the checks are outputs, text, products" in done.stderr
    done = command_line("doctor", "--sleep", cwd=lab.root)
    assert done.returncode == 2 and "belong to --selftest" in done.stderr


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind(lab: Lab, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "autoresearch_mlx", "doctor", "--selftest", "--only", "resume"]
    run = subprocess.Popen(command, cwd=lab.root, env=environment, stderr=subprocess.PIPE, text=True)
    assert run.stderr is not None
    assert any("until its first edit" in line for line in iter(run.stderr.readline, ""))
    end = time.monotonic() + 60
    # The check, its run, and a process of a measurement; the last one may end at any time.
    while len(found := left_behind(tmp_path)) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(found) >= 3
    run.send_signal(signal.SIGINT)
    run.stderr.read()
    assert run.wait(30) == 130
    assert left_behind(tmp_path) == [] and list(tmp_path.iterdir()) == []


# --- what is planted is found

WRONG_PRODUCT = """\
import sys
if {"autoresearch_mlx.setup.selftest.device", "autoresearch_mlx.trial.sandbox.attempts"} & set(sys.orig_argv):
    import mlx.core as mx
    right = mx.array.__matmul__
    mx.array.__matmul__ = lambda a, b: right(a, b) * (1.03 if a.shape[0] == 16 else 1.0)
"""
HANG = """\
import sys, time
if "autoresearch_mlx.trial.logits" in sys.orig_argv:
    time.sleep(619)
"""


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder whose sitecustomize.py every new interpreter runs, which can spoil any package."""
    folder = tmp_path / "planted"
    folder.mkdir()
    yield folder


def planting(folder: Path, lab: Lab, *names: str, limit: float | None = None, **environment: str) -> dict[str, Result]:
    """Run checks in a process of its own, with the planted code on the import path."""
    code = """\
import json, sys
from dataclasses import replace
from pathlib import Path
from autoresearch_mlx.setup.selftest.check import Ground
from autoresearch_mlx.setup.selftest.checks import check_named
from autoresearch_mlx.setup.selftest.conduct import conduct
names, folder, start, limit = json.loads(sys.argv[1])
checks = [replace(check_named(name), **({"limit": limit} if limit else {})) for name in names]
ground = Ground(Path(folder), Path(start), seconds=0.5, evaluations=2, probes=2)
print(json.dumps({each.name: each.result.to_json() for each in conduct(checks, ground, lambda words: None)}))
"""
    with tempfile.TemporaryDirectory() as ground:
        given = json.dumps([names, str(Path(ground).resolve()), str(lab.root), limit])
        around = {**os.environ, "PYTHONPATH": str(folder), **environment}
        done = subprocess.run([sys.executable, "-c", code, given], env=around, capture_output=True, text=True)
        assert left_behind(Path(ground).resolve()) == []
    assert done.returncode == 0, done.stderr
    return {name: Result.from_json(said) for name, said in json.loads(done.stdout).items()}


@pytest.mark.slow
def test_a_planted_wrong_product_is_found(planted: Path, lab: Lab) -> None:
    (planted / "sitecustomize.py").write_text(WRONG_PRODUCT)
    result = planting(planted, lab, "products")["products"]
    assert result.state == "fail"
    assert "product of 16 x 512 and 512 x 64, float32: off by 0.03" in result.words


@pytest.mark.slow
def test_a_session_refuses_to_measure_where_products_are_wrong(planted: Path, tmp_path: Path) -> None:
    lab = tiny.lab(tmp_path / "lab", tiny.settings(20, '[sandbox]\nenabled = "never"\n'))
    (planted / "sitecustomize.py").write_text(WRONG_PRODUCT)
    done = command_line_from_scratch("run", "--experiments", "0", cwd=lab.root, PYTHONPATH=str(planted))
    assert done.returncode == 1
    assert "error: MLX computes wrong numbers here, so no result could be trusted: a product of random" in done.stderr
    assert "hint: install another version of MLX" in done.stderr


@pytest.mark.slow
def test_a_planted_hang_is_ended_at_the_limit_and_said(planted: Path, lab: Lab) -> None:
    (planted / "sitecustomize.py").write_text(HANG)
    result = planting(planted, lab, "evaluations", limit=15.0)["evaluations"]
    assert (result.state, result.words) == ("fail", "did not end within 15 s and was ended (evaluation 1 of 2)")


@pytest.mark.slow
def test_a_planted_program_that_hangs_is_named(planted: Path, lab: Lab, tmp_path: Path) -> None:
    asleep = ["sleep", str(600 + os.getpid())]  # a program of this run of the tests alone
    (planted / "git").write_text(f"#!/bin/sh\n{' '.join(asleep)}\n")
    (planted / "git").chmod(0o755)
    path = f"{planted}{os.pathsep}{os.environ['PATH']}"
    result = planting(planted, lab, "outputs", limit=3.0, PATH=path)["outputs"]
    assert (result.state, result.words) == (
        "fail",
        "did not end within 3 s and was ended (running the programs of the system)",
    )
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == asleep]


@pytest.mark.slow
def test_a_planted_output_that_cannot_be_read_is_found(lab: Lab, tmp_path: Path) -> None:
    real = shutil.which("git")
    (tmp_path / "git").write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo jit 3000 || exec {real} "$@"\n')
    (tmp_path / "git").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = command_line_from_scratch("doctor", "--selftest", "--only", "outputs", cwd=lab.root, PATH=path)
    assert done.returncode == 1
    assert "`git --version` printed nothing that we can read: jit 3000" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("1 of 1 check failed (outputs)")


@pytest.mark.slow
def test_a_check_that_dies_is_a_finding(planted: Path, lab: Lab) -> None:
    (planted / "sitecustomize.py").write_text(
        "import os, sys\nif 'autoresearch_mlx.setup.selftest.one' in sys.orig_argv:\n    os.abort()\n"
    )
    result = planting(planted, lab, "clocks")["clocks"]
    assert result.state == "fail" and "the check itself failed while" in result.words and "signal 6" in result.words


# --- the report


def finding(state: str, words: str, name: str = "speed") -> Finding:
    return Finding(name, "what", Result(state, words), 1.25)  # type: ignore[arg-type]


def test_the_report_says_what_failed() -> None:
    done = [finding("ok", "fine"), finding("fail", "no", "sandbox"), finding("note", "hm", "agent")]
    assert summary(done) == "1 of 3 checks failed (sandbox); 1 to look at (agent); it took 0:04"
    assert summary(done[:1]) == "no check failed; it took 0:01"
    assert line_of(done[1], Blot()) == "    sandbox      FAIL     1.2 s  no"


def test_the_report_keeps_its_fence_and_no_control_codes() -> None:
    from autoresearch_mlx.setup.selftest.check import Output

    out = Output("pmset -g", "```\n\x1b[31mred\x1b[0m\x07\n" + "line\n" * 100, 0.1, "Low Power Mode no")
    done = [Finding("outputs", "what", Result("ok", "1 output read", (out,)), 1.0)]
    text = block(done, read_machine(), Blot())
    assert text.startswith("~~~~text\n") and text.endswith("\n~~~~")
    assert "\x1b" not in text and "\x07" not in text and "(62 more lines)" in text
    assert document(done, read_machine(), Blot())["outputs"][0]["read"] == "Low Power Mode no"


def test_every_check_has_a_limit_and_they_are_listed_once() -> None:
    assert all(isinstance(check, Check) and 0 < check.limit <= 300 for check in CHECKS)
    assert len({check.name for check in CHECKS}) == len(CHECKS)
