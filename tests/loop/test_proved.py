"""Whether a run counts if an agent's leftover program, the edit or the user writes its files during the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder, Steps, command_line, git, opened
from workspaces import checkout_of

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.proved import WRITTEN
from autoresearch_mlx.loop.research import research

BENCH = """\
import time
time.sleep(0.4)
from solver import X, Y
print(f"METRIC score={(X - 3) ** 2 + (Y - 5) ** 2 + 1:.6f}")
"""
WRITER = """\
import os, pathlib, sys, time
if sys.argv[1] == "fork twice" and (os.fork() or os.setsid() or os.fork()):
    os._exit(0)
for _ in range(200):
    time.sleep(0.02)
    for name, text in (("solver.py", "X = 3.0\\nY = 5\\n"), ("bench.py", "print('METRIC score=0')\\n")):
        file = pathlib.Path(name)
        if file.exists() and (name == "solver.py" or sys.argv[1] == "bench"):
            # One call, of the file's length: a writer that is killed leaves a whole file, never an empty one.
            with file.open("r+b", buffering=0) as open_file:
                open_file.write(text.encode().ljust(file.stat().st_size, b"\\n"))
"""


def prepared(lab: Lab, bench: str = BENCH, **files: str) -> Lab:
    """Commit another measuring program and further files, and return the lab."""
    (lab.root / "bench.py").write_text(bench)
    for name, text in files.items():
        (lab.root / name.replace("_dot_", ".")).write_text(text)
    git(lab.root, "add", "-A")
    git(lab.root, "commit", "-qm", "prepared")
    return lab


def experiment(lab: Lab, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command_line("show", str(number), "--json", cwd=lab.root).stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [
        f"setsid {sys.executable} -S writer.py once &",
        f"{sys.executable} -S writer.py 'fork twice' &",
        f"(nohup {sys.executable} -S writer.py bench &)",
        f"(env -i setsid {sys.executable} -S writer.py bench &)",
        f"git config core.fsmonitor true; git config alias.w '!setsid {sys.executable} -S writer.py bench &'; git w",
    ],
    ids=["own session", "two forks", "nohup", "without environment", "by git"],
)
def test_what_an_agent_left_running_writes_into_no_run(command_lab: Lab, tmp_path: Path, start: str) -> None:
    lab = prepared(command_lab, writer_dot_py=WRITER)
    script = tmp_path / "agent.sh"
    script.write_text(f"exec >/dev/null 2>&1 </dev/null\nsed -i.bak 's/X = 4.0/X = 3.5/' solver.py\n{start}\n")
    before = checkout_of(lab)
    done = command_line("run", "--experiments", "1", "--tag", "t", "--agent", f"command:sh {script}", cwd=lab.root)
    assert done.returncode == 0, done.stderr
    found = experiment(lab, 1)
    committed = git(lab.root, "show", f"{found['commit']}:solver.py")
    assert (found["status"], found["value"]) == ("keep", 10.25 if "X = 3.5" in committed else 1.0)
    assert checkout_of(lab)[0] == before[0]


@pytest.mark.slow
def test_a_module_that_another_program_adds_beside_the_file_is_not_measured(command_lab: Lab, tmp_path: Path) -> None:
    """The other program begins when the agent ends.  It is no child of the agent's, so the loop does not end it."""
    lab = prepared(command_lab)
    begin, stop, script = tmp_path / "begin", tmp_path / "stop", tmp_path / "agent.sh"
    module = lab.folder("t") / "worktree" / "solver"
    adds = f'mkdir -p {module}; printf "X = 3.0\\nY = 5\\n" > {module}/__init__.py; sleep 0.02'
    (tmp_path / "adds.sh").write_text(
        f"while [ ! -e {begin} ]; do sleep 0.02; done\nwhile [ ! -e {stop} ]; do {adds}; done\n"
    )
    script.write_text(f"sed -i.bak 's/X = 4.0/X = 3.5/' solver.py; touch {begin}\n")
    other = subprocess.Popen(["sh", tmp_path / "adds.sh", module.parent], stderr=subprocess.DEVNULL)
    try:
        command_line("run", "--experiments", "1", "--tag", "t", "--agent", f"command:sh {script}", cwd=lab.root)
    finally:
        begin.touch()
        stop.touch()
        other.wait()
    found = experiment(lab, 1)
    assert found["status"] == "invalid" and "added during the run by another program; sh (process" in found["reason"]


@pytest.mark.slow
def test_a_module_that_an_agents_leftover_adds_beside_the_file_is_not_measured(
    command_lab: Lab, tmp_path: Path
) -> None:
    """The loop mostly finds the leftover and ends it; otherwise the runs are disturbed."""
    lab = prepared(command_lab)
    stop, script = tmp_path / "stop", tmp_path / "agent.sh"
    adds = 'mkdir -p "$1/solver"; printf "X = 3.0\\nY = 5\\n" > "$1/solver/__init__.py"; sleep 0.02'
    (tmp_path / "adds.sh").write_text(f'while [ ! -e "$2" ]; do {adds}; done\n')
    script.write_text(
        "exec >/dev/null 2>&1 </dev/null\nsed -i.bak 's/X = 4.0/X = 3.5/' solver.py; here=$PWD; cd /\n"
        f"env -i PATH=$PATH setsid sh -c '(sh {tmp_path}/adds.sh $0 {stop} &)' $here\n"
    )
    try:
        command_line("run", "--experiments", "1", "--tag", "t", "--agent", f"command:sh {script}", cwd=lab.root)
    finally:
        stop.touch()
    found = experiment(lab, 1)
    disturbed = "added during the run by another program; sh (process" in (found["reason"] or "")
    assert (found["status"], found["value"]) == ("keep", 10.25) or (found["status"] == "invalid" and disturbed)


@pytest.mark.slow
def test_an_edit_whose_runs_write_what_measures_it_is_invalid(command_lab: Lab, screen: Recorder) -> None:
    """The guard runs the edited code before the program that measures is started."""
    lab = prepared(command_lab, BENCH.replace("0.4", "0"))
    cheat = "from pathlib import Path\nX, Y = 3.0, 2\nPath('bench.py').write_text(\"print('METRIC score=0')\")\n"
    with opened(lab, "t", target__guard=f"{sys.executable} -S -c 'import solver'") as session:
        research(session, Steps(cheat, {"X": 3.5}), Policy(experiments=2), screen)
    cheated, honest = screen.done[1:]
    assert (cheated.status, cheated.value) == ("invalid", None)
    assert "the edit's runs write bench.py" in cheated.reason
    assert (honest.status, honest.value) == ("keep", 10.25)


@pytest.mark.slow
def test_a_program_that_updates_a_file_under_git_in_each_run_is_measured(command_lab: Lab, screen: Recorder) -> None:
    counts = "from pathlib import Path\nn = Path('count.txt')\nn.write_text(f'{int(n.read_text()) + 1}\\n')\n"
    lab = prepared(command_lab, counts + BENCH.replace("0.4", "0"), count_dot_txt="0\n")
    with opened(lab, "t") as session:
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
    baseline, edit = screen.done
    assert [m.tainted for m in baseline.measurements][:2] == [True, False], "only its second run shows that it is usual"
    assert (baseline.status, edit.status, edit.value) == ("keep", "keep", 10.25)
    assert all(m.extra[WRITTEN] == ["count.txt"] and not m.tainted for m in edit.measurements)


@pytest.mark.parametrize(
    "act",
    ["git checkout -q --detach", "git reset -q --soft HEAD~1", "mv ../worktree ../elsewhere; mkdir ../worktree"],
    ids=["HEAD", "the branch", "the folder"],
)
def test_a_program_that_moves_head_the_branch_or_the_folder_ends_no_night(
    command_lab: Lab, screen: Recorder, act: str
) -> None:
    lab = prepared(command_lab, BENCH.replace("0.4", "0"))
    moves = f"test -e {lab.root}/once || {{ touch {lab.root}/once; {act}; }}"
    with opened(lab, "t", target__run=f"{sys.executable} -S bench.py && ({moves})") as session:
        research(session, Steps({"X": 3.5}, {"Y": 4}), Policy(experiments=2), screen)
    assert [e.status for e in screen.done] == ["keep", "keep", "keep"]
    assert git(lab.root, "rev-parse", "autoresearch/t") == screen.done[-1].commit
    assert git(lab.folder("t") / "worktree", "symbolic-ref", "HEAD") == "refs/heads/autoresearch/t"


@pytest.fixture
def person() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Yield a function that starts a program of the user's own, in a process session of its own."""
    began: list[subprocess.Popen[bytes]] = []

    def start(line: str) -> subprocess.Popen[bytes]:
        began.append(subprocess.Popen(["/bin/sh", "-c", line], start_new_session=True, stderr=subprocess.DEVNULL))
        return began[-1]

    yield start
    for process in began:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_program_of_the_persons_that_writes_there_is_named_and_goes_on(
    command_lab: Lab, person: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    lab = prepared(command_lab, BENCH.replace("0.4", "0.2"))
    with (lab.root / "lab.toml").open("a") as settings:
        settings.write('[judge]\nmode = "margin"\n')  # three disturbed runs are enough, not six
    file = lab.folder("t") / "worktree" / "solver.py"
    theirs = person(f"while :; do test -e {file} && touch {file}; sleep 0.1; done")
    done = command_line("run", "--experiments", "1", "--tag", "t", "--agent", "knobs", cwd=lab.root)
    assert done.returncode == 1
    assert "solver.py: written during the run by another program; sh (process" in done.stderr
    assert f"process {theirs.pid}" in done.stderr
    assert theirs.poll() is None
    assert experiment(lab, 0)["status"] == "invalid"
