"""The command line as a person and a script use it: real processes, real signals, real pipes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import command_line, git, write_command_lab

from autoresearch_mlx.lab import Lab
from autoresearch_mlx.ledger import FILE, read

COMMANDS = ("init", "prepare", "run", "try", "status", "log", "show", "diff", "compare", "doctor")
STEPS: list[dict[str, Any]] = [
    {"title": "X nearer", "axis": "x", "knobs": {"X": 3.5}, "rationale": "the minimum is at 3"},
    {"title": "X too far", "knobs": {"X": 9.0}},
    {"title": "broken", "files": {"solver.py": "X = 1 / 0\nY = 2\n"}},
    {"title": "X too far, again", "knobs": {"X": 9.0}},
    {"title": "Y right 試", "knobs": {"Y": 5}},
]
VALUES = {0: 11.0, 1: 10.25, 2: 46.0, 3: None, 4: None, 5: 1.25}
STATUSES = {0: "keep", 1: "keep", 2: "discard", 3: "crash", 4: "duplicate", 5: "keep"}


def script(lab: Lab, *steps: dict[str, Any]) -> str:
    path = lab.root.parent / "steps.json"
    path.write_text(json.dumps(steps))
    return f"scripted:{path}"


def call(lab: Lab, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that must not end in a traceback, whatever else it does."""
    done = command_line(*arguments, cwd=lab.root, **environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def data(lab: Lab, *arguments: str) -> Any:
    """The one JSON document of a command that has nothing to say besides."""
    done = call(lab, *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def refused(lab: Lab, *arguments: str, code: int = 1) -> str:
    """What a command says when it cannot do it: an error and a hint on stderr, nothing on stdout."""
    done = call(lab, *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done
    if code == 1:
        assert re.match(r"(.*\n)*error: .+\nhint: .+\n", done.stderr), done.stderr
    return done.stderr


def experiments(lab: Lab, tag: str = "t") -> dict[int, str]:
    return {e.number: e.status for e in read(lab.folder(tag) / FILE).history.experiments}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A session with one of each outcome; read only."""
    lab = write_command_lab(tmp_path_factory.mktemp("night") / "lab")
    agent = script(lab, *STEPS)
    done = call(lab, "run", "--tag", "t", "--agent", agent, "--experiments", "5")
    assert done.returncode == 0, done.stderr
    return lab


# --- run


def test_run_does_what_the_script_says_and_tells_it_on_stderr(command_lab: Lab) -> None:
    agent = script(command_lab, *STEPS)
    done = call(command_lab, "run", "--tag", "t", "--agent", agent, "--experiments", "5")
    assert done.returncode == 0
    assert experiments(command_lab) == STATUSES
    assert done.stdout.splitlines() == [
        "5 experiments: 2 kept, 1 discarded, 2 failed; score 11.000000 -> 1.250000 (+9.750000, 88.64 %), experiment 5",
        "stopped: 5 experiments done, as asked",
    ]
    assert "session t on branch autoresearch/t" in done.stderr
    assert re.search(r"#3 +crash +ZeroDivisionError", done.stderr)
    assert git(command_lab.root, "status", "--porcelain") == ""


def test_run_goes_on_until_the_script_ends(command_lab: Lab) -> None:
    agent = script(command_lab, *STEPS[:2])
    assert call(command_lab, "run", "--agent", agent, "--experiments", "1").returncode == 0
    done = call(command_lab, "run", "--agent", agent)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "stopped: the script ended after 2 steps"


def test_the_default_agent_needs_nothing_but_the_knobs(command_lab: Lab) -> None:
    done = call(command_lab, "run", "--tag", "t", "--experiments", "2")
    assert done.returncode == 0
    e = read(command_lab.folder("t") / FILE).history.experiments
    assert [x.agent for x in e[1:]] == ["knobs", "knobs"]
    assert all(set(x.knobs) <= {"X", "Y"} for x in e)


def test_no_experiment_still_measures_the_baseline(command_lab: Lab) -> None:
    call(command_lab, "run", "--tag", "t", "--experiments", "0")
    assert experiments(command_lab) == {0: "keep"}


def test_options_and_the_agents_own_name_are_checked_before_anything_is_measured(command_lab: Lab) -> None:
    assert "no agent named 'knbos'" in (said := refused(command_lab, "run", "--agent", "knbos"))
    assert "did you mean 'knobs'?" in said
    assert "steps.json" in refused(command_lab, "run", "--agent", "scripted:steps.json")
    assert "cannot name a session" in refused(command_lab, "run", "--tag", "../x")
    for wrong in (["--experiments", "-1"], ["--hours", "0"], ["--budget", "nan"]):
        assert "Usage:" in refused(command_lab, "run", *wrong, code=2)


def test_a_baseline_that_fails_is_an_error_with_a_way_out(command_lab: Lab) -> None:
    (command_lab.root / "bench.py").write_text("raise ValueError('no data')\n")
    git(command_lab.root, "commit", "-qam", "broken")
    done = call(command_lab, "run", "--experiments", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: the baseline ended as crash: ValueError: no data\nhint: `autoresearch-mlx show 0`" in done.stderr


def test_what_git_sets_for_its_hooks_does_not_lead_to_the_users_checkout(command_lab: Lab) -> None:
    """As from ``git rebase --exec``, or from a hook."""
    dot_git = command_lab.root / ".git"
    inherited = {
        "GIT_DIR": str(dot_git),
        "GIT_INDEX_FILE": str(dot_git / "index"),
        "GIT_WORK_TREE": str(command_lab.root),
    }
    branch = git(command_lab.root, "branch", "--show-current")
    call(command_lab, "run", "--tag", "t", "--agent", script(command_lab, *STEPS), "--experiments", "1", **inherited)
    assert experiments(command_lab) == {0: "keep", 1: "keep"}
    assert git(command_lab.root, "branch", "--show-current") == branch
    assert git(command_lab.root, "status", "--porcelain") == ""


# --- try


def test_try_measures_the_users_edit_and_says_what_came_of_it(command_lab: Lab) -> None:
    call(command_lab, "run", "--tag", "t", "--experiments", "0")
    assert "nothing to try" in refused(command_lab, "try", "-m", "as it is")
    (command_lab.root / "solver.py").write_text("X = 3.0\nY = 2\n")
    kept = call(command_lab, "try", "-m", "X is best at 3")
    assert kept.returncode == 0
    assert kept.stdout.startswith("experiment 1: keep\ngain 1.000000")
    assert "branch autoresearch/t is now at" in kept.stdout
    (command_lab.root / "solver.py").write_text("X = 3.0\nY = 1\n")
    done = json.loads(call(command_lab, "try", "-m", "Y lower", "--json").stdout)
    assert (done["number"], done["status"], done["title"], done["agent"]) == (2, "discard", "Y lower", "manual")
    assert done["knobs"] == {"Y": [2, 1]}
    assert (command_lab.root / "solver.py").read_text() == "X = 3.0\nY = 1\n"


def test_try_needs_words(command_lab: Lab) -> None:
    assert "'-m'" in refused(command_lab, "try", code=2)


# --- reading


def test_status(night: Lab) -> None:
    told = data(night, "status")
    assert list(told) == [
        "session", "branch", "target", "metric", "direction", "experiments", "kept", "discarded", "failed", "baseline",
        "incumbent", "sigma", "running", "agent",
    ]  # fmt: skip
    assert (told["experiments"], told["kept"], told["discarded"], told["failed"]) == (5, 2, 1, 2)
    assert told["incumbent"] == {"number": 5, "commit": git(night.root, "rev-parse", "autoresearch/t"), "value": 1.25}
    assert (told["sigma"], told["running"]) == (None, None)
    text = call(night, "status").stdout
    assert "1.250000" in text and "no" in text


def test_log_is_a_table_or_one_object_a_line(night: Lab) -> None:
    table = call(night, "log")
    assert (table.returncode, table.stderr) == (0, "")
    assert re.search(r"^\* +5 +keep +1\.250000", table.stdout, re.MULTILINE)
    lines = [json.loads(line) for line in call(night, "log", "--json").stdout.splitlines()]
    assert {e["number"]: e["status"] for e in lines} == STATUSES
    assert {e["number"]: e["value"] for e in lines} == VALUES
    assert list(lines[1])[:15] == [
        "number", "status", "value", "gain", "commit", "base", "ref", "title", "axis", "knobs",
        "agent", "reason", "started", "finished", "measurements",
    ]  # fmt: skip
    assert lines[1]["knobs"] == {"X": [4.0, 3.5]}
    assert lines[4]["measurements"] == []


def test_show_has_reason_numbers_diff_and_log(night: Lab) -> None:
    text = call(night, "show", "1").stdout
    for part in (
        "experiment 1: keep",
        "X nearer",
        "gain 0.750000",
        "the minimum is at 3",
        "+X = 3.5",
        "METRIC score=10.25",
    ):
        assert part in text
    crashed = data(night, "show", "3")
    assert crashed["reason"] == "ZeroDivisionError: division by zero"
    assert "line 1, in <module>" in command_line("show", "3", cwd=night.root).stdout
    assert call(night, "show", "4").returncode == 0
    assert data(night, "show", "1")["rationale"] == "the minimum is at 3"


def test_diff_is_one_that_git_can_apply(night: Lab) -> None:
    assert "-X = 4.0  # knob: lin 0 10\n+X = 3.5  # knob: lin 0 10\n" in call(night, "diff", "1").stdout
    both = call(night, "diff", "0", "5").stdout
    assert subprocess.run(["git", "apply", "--check"], input=both, text=True, cwd=night.root).returncode == 0
    assert "+Y = 5" in both and "+X = 3.5" in both
    assert "-Y = 5" in call(night, "diff", "5", "0").stdout


def test_compare(night: Lab) -> None:
    assert "H100" in call(night, "compare").stdout
    told = data(night, "compare")
    assert (told["here"]["baseline"], told["here"]["best"], told["applies"]) == (11.0, 1.25, False)


@pytest.mark.parametrize("columns", ["1", "60"])
def test_every_width_is_wide_enough(night: Lab, columns: str) -> None:
    for command in (["status"], ["log"], ["show", "1"], ["compare"]):
        assert call(night, *command, COLUMNS=columns).returncode == 0


@pytest.mark.parametrize("command", [["log"], ["log", "--json"], ["show", "5"]])
def test_a_narrow_encoding_costs_a_letter_not_the_command(night: Lab, command: list[str]) -> None:
    done = call(night, *command, PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Y right" in done.stdout


def test_what_is_not_there_is_said_with_where_to_look(night: Lab) -> None:
    assert "no experiment 99" in (said := refused(night, "show", "99"))
    assert "autoresearch-mlx log" in said
    assert "no commit of an experiment 99" in refused(night, "diff", "0", "99")
    for command in (["status"], ["diff", "1"]):
        assert "no session nope" in (said := refused(night, *command, "--tag", "nope"))
        assert "sessions here: t" in said
    for wrong in (["show"], ["show", "-1"], ["nosuch"], []):
        refused(night, *wrong, code=2)


def test_outside_of_a_lab_and_before_a_session(command_lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    nowhere = Lab(tmp_path / "empty")
    for command in (["log"], ["run"], ["try", "-m", "x"]):
        assert "is no lab" in refused(nowhere, *command)
    assert "no session yet" in (said := refused(command_lab, "status"))
    assert "`autoresearch-mlx run` starts one" in said


def test_a_mistake_in_the_settings_is_named(command_lab: Lab) -> None:
    with (command_lab.root / "lab.toml").open("a") as file:
        file.write("metrik = 'x'\n")
    assert "unknown setting target.metrik" in (said := refused(command_lab, "run"))
    assert "hint: did you mean target.metric?" in said


def test_a_damaged_ledger_is_named_by_line(command_lab: Lab) -> None:
    call(command_lab, "run", "--tag", "t", "--experiments", "0")
    with (command_lab.folder("t") / FILE).open("a") as file:
        file.write("<<<<<<< HEAD\n")
    for command in (["status"], ["run"]):
        assert "ledger.jsonl, line 4" in refused(command_lab, *command)


# --- help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str, tmp_path: Path) -> None:
    done = command_line(command, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Example:\n    autoresearch-mlx {command}" in done.stdout or (
        f"Example:\n  autoresearch-mlx {command}" in done.stdout
    )


def test_the_help_of_all_names_each_command_and_the_version_is_a_number(tmp_path: Path) -> None:
    done = command_line("--help", cwd=tmp_path)
    assert all(re.search(rf"^  {name} ", done.stdout, re.MULTILINE) for name in COMMANDS)
    assert re.fullmatch(r"autoresearch-mlx, version \d+\.\d+\S*\n", command_line("--version", cwd=tmp_path).stdout)


# --- init and doctor


def test_init_makes_a_lab_in_a_repository_of_its_own_and_leaves_what_is_there(tmp_path: Path) -> None:
    made = Lab(tmp_path / "my lab")
    done = command_line("init", "my lab", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in made.root.iterdir()) == [".git", "lab.toml", "program.md", "train_mlx.py"]
    assert "wrote" in done.stdout
    assert done.stderr == "next: cd 'my lab' && autoresearch-mlx run\n"
    assert git(made.root, "status", "--porcelain") == ""
    assert git(made.root, "log", "--format=%s %an") == "A new lab autoresearch-mlx"
    (made.root / "program.md").write_text("mine\n")
    again = command_line("init", cwd=made.root)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "next: autoresearch-mlx run\n")
    assert (made.root / "program.md").read_text() == "mine\n"


def test_init_in_a_repository_leaves_the_commit_to_its_owner(command_lab: Lab) -> None:
    done = call(command_lab, "init", "inner")
    assert done.returncode == 0
    assert f"lies in the repository {command_lab.root}" in done.stdout
    assert git(command_lab.root, "status", "--porcelain") == "?? inner/"


@pytest.mark.parametrize("there", [["train_mlx.py"], ["train_mlx.py", "program.md", "lab.toml"]])
def test_init_commits_the_files_that_were_there_already_too(tmp_path: Path, there: list[str]) -> None:
    for name in there:
        (tmp_path / name).write_text("# mine\n")
    done = command_line("init", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert git(tmp_path, "ls-files").splitlines() == ["lab.toml", "program.md", "train_mlx.py"]
    assert (tmp_path / "train_mlx.py").read_text() == "# mine\n"


def test_init_asks_for_no_signature(tmp_path: Path) -> None:
    (tmp_path / "gitconfig").write_text("[commit]\n\tgpgsign = true\n[gpg]\n\tprogram = /bin/false\n")
    done = command_line("init", "lab", cwd=tmp_path, GIT_CONFIG_GLOBAL=str(tmp_path / "gitconfig"))
    assert done.returncode == 0, done.stderr


def test_init_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file/lab", "file"):
        done = command_line("init", place, cwd=tmp_path)
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr


def test_doctor_shows_each_setting_with_its_source(command_lab: Lab) -> None:
    done = call(command_lab, "doctor")
    assert done.stderr == ""
    assert re.search(r"target\.metric +score  \(lab\.toml\)", done.stdout)
    assert re.search(r"agent\.name +knobs  \(default\)", done.stdout)
    assert re.search(r"repository +\S+ at [0-9a-f]{7}", done.stdout)


def test_doctor_fails_with_a_finding_where_the_loop_could_not_run(tmp_path: Path) -> None:
    done = command_line("doctor", "--json", cwd=tmp_path)
    failed = [f for f in json.loads(done.stdout) if f["state"] == "fail"]
    assert done.returncode == 1
    assert any("is no lab" in f["value"] and f["hint"] for f in failed)


def test_a_repository_that_git_does_not_trust_is_told_in_gits_own_words(command_lab: Lab) -> None:
    other_owner = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    for command in (["run"], ["doctor"], ["init", "."]):
        done = call(command_lab, *command, **other_owner)
        assert done.returncode == 1
        assert "git config --global --add safe.directory" in done.stderr + done.stdout


# --- pipes and terminals


@pytest.mark.parametrize("command", [["log", "--json"], ["log"], ["show", "1"], ["run", "--help"]])
def test_a_reader_that_went_away_is_no_error(night: Lab, command: list[str]) -> None:
    """As with ``| head -1``, at its worst: nobody reads anything."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "autoresearch_mlx", *command],
        cwd=night.root,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_log_into_head(night: Lab) -> None:
    line = f"set -o pipefail; '{sys.executable}' -m autoresearch_mlx log --json | head -1"
    done = subprocess.run(["bash", "-c", line], cwd=night.root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["number"] == 0


@pytest.mark.parametrize(("columns", "kind"), [(8, "xterm"), (200, "xterm"), (0, "dumb")])
def test_run_on_a_terminal(command_lab: Lab, columns: int, kind: str) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    agent = script(command_lab, *STEPS)
    process = subprocess.Popen(
        [sys.executable, "-m", "autoresearch_mlx", "run", "--agent", agent, "--tag", "t", "--experiments", "1"],
        cwd=command_lab.root,
        env={**environment, "TERM": kind},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux ends a terminal with an error
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert process.wait(20) == 0
    assert b"Traceback" not in shown
    assert experiments(command_lab) == {0: "keep", 1: "keep"}
    assert (b"\x1b[" in shown) == (kind == "xterm")


# --- being stopped

WAITING = """\
import os, subprocess, time
from solver import X, Y
if X == 9.0:
    child = subprocess.Popen(["sleep", "600"])
    with open(os.environ["MARK"] + ".tmp", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(os.environ["MARK"] + ".tmp", os.environ["MARK"])
    time.sleep(600)
print(f"METRIC score={(X - 3) ** 2 + (Y - 5) ** 2 + 1:.6f}")
"""


@dataclass
class Busy:
    """A ``run`` whose second experiment waits for ever, and the processes of that experiment."""

    lab: Lab
    process: subprocess.Popen[str]
    children: Sequence[int]

    def end(self, number: int) -> str:
        """Send a signal; returns what stood on stderr."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=20)[1]


@pytest.fixture
def busy(command_lab: Lab) -> Iterator[Busy]:
    (command_lab.root / "bench.py").write_text(WAITING)
    git(command_lab.root, "commit", "-qam", "waits for X = 9")
    with running(command_lab, script(command_lab, *STEPS)) as run:
        yield run


@contextmanager
def running(lab: Lab, agent: str) -> Iterator[Busy]:
    mark = lab.root.parent / "mark"
    mark.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "autoresearch_mlx", "run", "--tag", "t", "--agent", agent],
        cwd=lab.root,
        env={**os.environ, "MARK": str(mark)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )
    try:
        end = time.monotonic() + 20
        while not mark.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        assert mark.exists(), process.communicate(timeout=5)
        children = [int(pid) for pid in mark.read_text().split()]
        yield Busy(lab, process, children)
    finally:
        process.kill()
        process.wait()
        if mark.exists():
            for pid in map(int, mark.read_text().split()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def gone(pids: Sequence[int]) -> bool:
    """Dead; a corpse that nobody has cleared away counts."""
    for _ in range(100):
        states = subprocess.run(["ps", "-o", "stat=", "-p", ",".join(map(str, pids))], capture_output=True, text=True)
        if all(state.startswith("Z") for state in states.stdout.split()):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_by_hand_is_logged_and_cleaned_up(busy: Busy, number: signal.Signals) -> None:
    said = busy.end(number)
    assert busy.process.returncode == 130
    assert "Traceback" not in said
    assert experiments(busy.lab) == {0: "keep", 1: "keep", 2: "interrupted"}
    last = read(busy.lab.folder("t") / FILE).history.experiments[-1]
    assert (last.reason, last.value, last.title) == ("stopped by hand", None, "X too far")
    assert last.commit is not None and "+X = 9.0" in git(busy.lab.root, "show", last.commit)
    worktree = busy.lab.folder("t") / "worktree"
    assert git(worktree, "status", "--porcelain", "--ignored") == ""
    assert git(worktree, "symbolic-ref", "HEAD") == "refs/heads/autoresearch/t"
    assert git(busy.lab.root, "status", "--porcelain") == ""
    assert gone(busy.children)


def test_after_a_stop_the_next_run_goes_on(busy: Busy) -> None:
    busy.end(signal.SIGINT)
    done = call(busy.lab, "run", "--agent", script(busy.lab, *STEPS), "--experiments", "1")
    assert done.returncode == 0
    assert experiments(busy.lab) == {0: "keep", 1: "keep", 2: "interrupted", 3: "crash"}


def test_after_a_kill_the_next_run_closes_what_was_open_and_goes_on(busy: Busy) -> None:
    busy.end(signal.SIGKILL)
    assert busy.process.returncode == -signal.SIGKILL
    assert data(busy.lab, "status")["running"] is None
    done = call(busy.lab, "run", "--agent", script(busy.lab, *STEPS), "--experiments", "1")
    assert done.returncode == 0, done.stderr
    assert experiments(busy.lab) == {0: "keep", 1: "keep", 2: "interrupted", 3: "crash"}
    left = read(busy.lab.folder("t") / FILE).history.experiments[2]
    assert (left.reason, left.title) == ("the process that ran it ended", "X too far")
    assert left.knobs == {"X": (3.5, 9.0)}


def test_a_session_in_use_is_seen_and_not_entered_twice(busy: Busy) -> None:
    running = data(busy.lab, "status")["running"]
    assert (running["pid"], running["number"]) == (busy.process.pid, 2)
    for command in (["run", "--experiments", "1"], ["try", "-m", "x"]):
        assert f"session t is in use by process {busy.process.pid}" in refused(busy.lab, *command)
    other = call(busy.lab, "run", "--tag", "other", "--experiments", "0")
    assert other.returncode == 0
    assert experiments(busy.lab, "other") == {0: "keep"}


def test_a_worktree_deleted_under_a_run_costs_the_user_nothing(busy: Busy) -> None:
    (busy.lab.root / "precious.txt").write_text("not committed\n")
    (busy.lab.root / "solver.py").write_text("# unsaved\n")
    worktree = busy.lab.folder("t") / "worktree"
    subprocess.run(["rm", "-rf", str(worktree)], check=True)
    os.kill(busy.children[0], signal.SIGKILL)
    busy.process.communicate(timeout=20)
    assert (busy.lab.root / "precious.txt").read_text() == "not committed\n"
    assert (busy.lab.root / "solver.py").read_text() == "# unsaved\n"
    assert "bench.py" in [p.name for p in busy.lab.root.iterdir()]
