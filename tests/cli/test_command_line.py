"""The command line as a person and a script use it, in real processes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command_runs import STATUSES, STEPS, call, experiments, refused, script
from conftest import ROOT, command_line, git

from autoresearch_mlx.cli.options import at_least_one
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, read

COMMANDS = ("init", "prepare", "run", "try", "status", "log", "show", "diff", "compare", "doctor")


# --- run


@pytest.mark.slow
def test_run_does_what_the_script_says_and_tells_it_on_stderr(command_lab: Lab) -> None:
    agent = script(command_lab, *STEPS)
    done = call(command_lab, "run", "--tag", "t", "--agent", agent, "--experiments", "5")
    assert done.returncode == 0
    assert experiments(command_lab) == STATUSES
    assert done.stdout.splitlines() == [
        "5 experiments: 2 kept, 1 discarded, 2 failed; score 11 -> 1.250000 (+9.750000, 88.64 %), experiment 5",
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
    assert "agent: knobs, no model: no Ollama answers at 127.0.0.1:9" in done.stderr


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


@pytest.mark.parametrize(
    ("bench", "file"),
    [
        ("open('sizes.json')", "sizes.json"),
        ("import own_paths", "own_paths.py"),
        ("import os; open(os.path.abspath('data/a b.txt'))", "'data/a b.txt'"),
    ],
)
def test_a_baseline_that_misses_a_file_that_is_not_under_git_names_it(command_lab: Lab, bench: str, file: str) -> None:
    (command_lab.root / "bench.py").write_text(f"{bench}\n")
    (command_lab.root / ".gitignore").write_text("sizes.json\nown_paths.py\ndata/\n")
    git(command_lab.root, "add", "-A")
    git(command_lab.root, "commit", "-qm", "it reads a file")
    missing = command_lab.root / file.strip("'")
    missing.parent.mkdir(exist_ok=True)
    missing.write_text("")
    said = refused(command_lab, "run", "--experiments", "1")
    fact = f"the measured commit lacks {file.strip(chr(39))}, which your checkout has"
    assert f"hint: {fact}: `git add -f {file} && git commit`, and start again with --tag" in said


def test_what_git_sets_for_its_hooks_does_not_lead_to_the_users_checkout(command_lab: Lab) -> None:
    """Git sets such variables for ``git rebase --exec`` and for hooks."""
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


@pytest.mark.slow
def test_try_measures_the_users_edit_and_says_what_came_of_it(command_lab: Lab) -> None:
    call(command_lab, "run", "--tag", "t", "--experiments", "0")
    assert "nothing to try" in refused(command_lab, "try", "-m", "as it is")
    (command_lab.root / "solver.py").write_text("X = 3.0\nY = 2\n")
    kept = call(command_lab, "try", "-m", "X is best at 3")
    assert kept.returncode == 0
    assert kept.stdout.startswith("experiment 1: keep\ngain 1 ")
    assert "kept as commit " in kept.stdout and " on branch autoresearch/t" in kept.stdout
    (command_lab.root / "solver.py").write_text("X = 3.0\nY = 1\n")
    done = json.loads(call(command_lab, "try", "-m", "Y lower", "--json").stdout)
    assert (done["number"], done["status"], done["title"], done["agent"]) == (2, "discard", "Y lower", "manual")
    assert done["knobs"] == {"Y": [2, 1]}
    assert (command_lab.root / "solver.py").read_text() == "X = 3.0\nY = 1\n"


def test_try_needs_words(command_lab: Lab) -> None:
    assert "'-m'" in refused(command_lab, "try", code=2)


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
    assert f"is in the repository {command_lab.root}" in done.stdout
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


def test_a_folder_that_was_removed_meanwhile_is_named(tmp_path: Path) -> None:
    line = f'rmdir "$PWD" && exec {shlex.quote(sys.executable)} -m autoresearch_mlx status'
    (here := tmp_path / "gone").mkdir()
    done = subprocess.run(
        ["sh", "-c", line], cwd=here, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 1 and done.stderr.startswith("error: the current folder no longer exists\nhint: `cd`")


def test_doctor_shows_each_setting_with_its_source(command_lab: Lab) -> None:
    done = call(command_lab, "doctor")
    assert done.stderr == ""
    assert re.search(r"target\.metric +score  \(lab\.toml\)", done.stdout)
    assert re.search(r"agent\.name +auto  \(default\)", done.stdout)
    assert re.search(r"repository\s+\S+\s+at\s+[0-9a-f]{7}", done.stdout)
    assert "machine.wait_for_cooling  false  (default)" in done.stdout
    assert re.search(r"^(nothing to fix|\d to read)$", done.stdout.splitlines()[-1])


def test_doctor_fails_with_a_finding_where_the_loop_could_not_run(tmp_path: Path) -> None:
    done = command_line("doctor", "--json", cwd=tmp_path)
    failed = [f for f in json.loads(done.stdout) if f["state"] == "fail"]
    assert done.returncode == 1
    assert any("no lab here" in f["value"] and f["hint"] for f in failed)


def test_a_repository_that_git_does_not_trust_is_told_in_gits_own_words(command_lab: Lab) -> None:
    other_owner = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    for command in (["run"], ["doctor"], ["init", "."]):
        done = call(command_lab, *command, **other_owner)
        assert done.returncode == 1
        assert "git config --global --add safe.directory" in done.stderr + done.stdout


@pytest.mark.slow
def test_without_git_it_is_told_what_is_missing(command_lab: Lab) -> None:
    done = call(command_lab, "run", "--experiments", "0", PATH=str(command_lab.root))
    assert done.returncode == 1
    assert "error: git does not answer" in done.stderr and "hint: `git --version`" in done.stderr


@pytest.mark.parametrize(
    "command",
    [("run", "--max-cost"), ("factory", "mine", "--bar"), ("init", "mine", "--test-seconds"), ("wait", "--seconds")],
)
def test_nan_is_below_no_bound_and_is_refused_all_the_same(command: tuple[str, ...], tmp_path: Path) -> None:
    done = command_line(*command, "nan", cwd=tmp_path)
    assert done.returncode == 2 and "'nan' is not a number" in done.stderr
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("command", ["run", "plan"])
def test_hours_that_are_no_number_are_wrong_usage(command: str, command_lab: Lab) -> None:
    done = command_line(command, "--hours", "nan", cwd=command_lab.root)
    assert done.returncode == 2 and "'nan' is not a number of hours above 0" in done.stderr


def test_a_stall_of_no_experiments_is_refused() -> None:
    with pytest.raises(ValueError):
        at_least_one("0")
