"""Kills at random instants: of the loop, of the measured program, of the coding agent, of any child process."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from conftest import git
from torture.conftest import Toll
from torture.labs import SPREAD, TURNS, Loop, run, start, torture_lab

from autoresearch_mlx.lab.lab import Lab

pytestmark = pytest.mark.uncounted

PARTS, EACH, CHILDREN = 8, 25, 8
"""Number of tests, and of kills in each test: kills of the loop, and of a child process."""
SLOW = """\
import os, time
from pathlib import Path
from solver import X
mark = Path(os.environ.get("MARK", "solver.py"))
if not mark.exists():
    mark.write_text(f"{os.getpid()}\\n")
    time.sleep(1.5)
    Path("solver.py").write_text("X = 0.0\\n")
    Path("left.txt").touch()
print(f"METRIC score={X:.6f}")
"""
"""A measured program that writes the file MARK, if one is named.  If it is not killed then, it spoils the next run."""
AGENT = """\
import os, sys, time
from pathlib import Path
sys.stdin.read()
text = Path("solver.py").read_text()
x = float(text.split("=")[1])
mark = Path(os.environ.get("MARK", "solver.py"))
if not mark.exists():
    Path("solver.py").write_text("X = ")
    mark.write_text(f"{os.getpid()}\\n")
    time.sleep(1.5)
    Path("left.txt").touch()
Path("solver.py").write_text(f"X = {x - 1}\\n")
print("TITLE: one less")
"""
"""A coding agent that writes MARK once, in the middle of its edit, if asked to."""
ENDS = {"the loop": "interrupted", "the program": "crash", "the agent": "keep"}
"""Status of the experiment, by the process that was killed; an agent that died during its edit is asked again."""


THREE_LANES = ("--agent", SPREAD, "--lanes", "3")


def loop_at_an_instant(lab: Lab, toll: Toll, *options: str) -> None:
    """Start a loop, kill it within two seconds, and continue from there."""
    instant = toll.chance.uniform(0.2, 2.0)
    with start(lab, *options) as loop:
        time.sleep(instant)
        loop.kill()
    toll.after(lab, f"{instant:.3f} s of {options}", *options, "--experiments", "1")


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--agent", TURNS), THREE_LANES], ids=["one lane", "three lanes"])
def test_a_death_of_the_loop_at_an_instant(root: Path, toll: Toll, options: tuple[str, ...]) -> None:
    lab = torture_lab(root, judge="auto")
    for _ in range(3):
        loop_at_an_instant(lab, toll, *options)


@pytest.mark.torture
@pytest.mark.parametrize("part", range(PARTS))
def test_deaths_of_the_loop_at_many_instants(root: Path, toll: Toll, part: int) -> None:
    toll.chance.seed(f"{toll.counts['seed']} {part}")
    lab = torture_lab(root, judge="auto")
    for _ in range(EACH):
        loop_at_an_instant(lab, toll, *(THREE_LANES if part % 2 else ("--agent", TURNS)))


@pytest.mark.torture
@pytest.mark.parametrize("part", range(PARTS))
def test_deaths_of_any_child_at_many_instants(root: Path, toll: Toll, part: int) -> None:
    """The child is git, a measured program or a coding agent's shell, whichever runs at that moment."""
    toll.chance.seed(f"{toll.counts['seed']} {part}")
    lab = coding_lab(root)
    while toll.counts["kills"] < CHILDREN:
        with start(lab, *CODING) as loop:
            time.sleep(toll.chance.uniform(0.3, 1.0))
            if (killed := kill_a_child(loop.pid, toll)) is None:
                continue
            time.sleep(toll.chance.uniform(0.0, 0.2))
            loop.kill()
        assert "Traceback" not in loop.stderr_text(), loop.stderr_text()
        toll.after(lab, f"a death of {killed}", *CODING, "--experiments", "1")


def kill_a_child(parent: int, toll: Toll) -> str | None:
    end = time.monotonic() + 2
    while time.monotonic() < end:
        with suppress(psutil.Error):
            children = psutil.Process(parent).children(recursive=True)
            if children:
                child = toll.chance.choice(children)
                words = " ".join(child.cmdline())
                child.kill()
                return words
    return None


# --- processes that a killed loop leaves running


def measured_slowly(root: Path) -> Lab:
    lab = torture_lab(root)
    (root / "bench.py").write_text(SLOW)
    git(root, "commit", "-qam", "slow")
    return lab


CODING = ("--agent", f"command:{sys.executable} agent.py")


def coding_lab(root: Path) -> Lab:
    lab = torture_lab(root)
    (root / "agent.py").write_text(AGENT)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "an agent")
    run(lab, *CODING, "--experiments", "0")
    return lab


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["the loop", "the program"])
def test_a_program_that_is_measured_when_a_death_comes(root: Path, toll: Toll, victim: str) -> None:
    lab = measured_slowly(root)
    run(lab, "--agent", TURNS, "--experiments", "0")
    strike(lab, toll, victim, "--agent", TURNS)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["the loop", "the agent"])
def test_a_coding_agent_that_works_when_a_death_comes(root: Path, toll: Toll, victim: str) -> None:
    strike(coding_lab(root), toll, victim, *CODING)


def strike(lab: Lab, toll: Toll, victim: str, *options: str) -> None:
    """Kill the loop or its child once the child says that it runs; the child of a dead loop spoils nothing."""
    mark = lab.root.parent / "mark"
    with start(lab, *options, "--experiments", "1", env={"MARK": str(mark)}) as loop:
        pid = child(mark, loop)
        began = time.monotonic()
        os.kill(loop.pid if victim == "the loop" else pid, signal.SIGKILL)
        if victim == "the loop":
            loop.ended()
        else:
            assert loop.ended() == 0, loop.stderr_text()
    toll.after(lab, f"{victim} of {options}", *options, "--experiments", "1")
    assert gone(pid)
    time.sleep(max(0.0, began + 1.8 - time.monotonic()))
    toll.check(lab, "later")
    statuses = {e["number"]: e["status"] for e in finished(lab)}
    assert statuses == {0: "keep", 1: ENDS[victim], 2: "keep"}


def finished(lab: Lab) -> list[dict[str, object]]:
    lines = (lab.folder("t") / "ledger.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "finished"]


def child(mark: Path, loop: Loop) -> int:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if mark.exists() and mark.read_text().endswith("\n"):
            return int(mark.read_text())
        assert loop.poll() is None, "the loop ended before its child began"
        time.sleep(0.01)
    raise AssertionError("no child began")


def gone(pid: int) -> bool:
    with suppress(psutil.Error):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True
