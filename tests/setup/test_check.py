"""A lab is tried before a night, in a copy of its last commit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, command_line, git

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.setup.check import broken
from autoresearch_mlx.trial.orphans import end_orphans


def state_of(lab: Lab, **files: str) -> dict[str, tuple[str, str, str]]:
    """Commit these files (``_`` stands for the dot), run ``check``, and return state, text and hint by name."""
    for name, text in files.items():
        (lab.root / name.replace("_", ".")).write_text(text)
    git(lab.root, "add", "-A")
    git(lab.root, "commit", "--quiet", "--allow-empty", "-m", "edited")
    done = command_line("check", "--runs", "3", "--json", cwd=lab.root)
    found = {f["name"]: (f["state"], f["value"], f["hint"]) for f in json.loads(done.stdout)}
    assert done.returncode == any(state == "fail" for state, _, _ in found.values()), done.stderr
    return found


def settings(guard: str = "") -> str:
    line = f'guard = "{guard}"\n' if guard else ""
    return (
        f'[target]\nkind = "command"\neditable = ["solver.py"]\nrun = "{sys.executable} -S bench.py"\n'
        f'metric = "score"\n{line}'
    )


WORK = "X = 4  # knob: int 0 10\n\n\ndef work(n):\n    return n + X\n"
USES = "from solver import work\nprint(f'METRIC score={%s}')\n"


def test_a_sound_lab_passes_and_nothing_is_left_of_the_trial(command_lab: Lab) -> None:
    found = state_of(command_lab)
    assert {state for state, _, _ in found.values()} == {"ok"}
    assert found["number"][1] == "score 11 in 3 runs (11 to 11); lower is better"
    assert found["noise"][1].startswith("none: the same number")
    assert found["follows"][1].startswith("X = 0.0 gives score 19")
    assert found["broken"][1].startswith("with empty files: crash")
    assert git(command_lab.root, "worktree", "list").count("\n") == 0, "one worktree: the checkout"
    assert not (command_lab.root / ".autoresearch").exists()


def test_no_number_ends_the_trial(command_lab: Lab) -> None:
    found = state_of(command_lab, bench_py="print('score=3')\n")
    assert list(found) == ["number"] and found["number"][0] == "fail"
    assert "run 1 of the unedited commit ended as invalid" in found["number"][1]


@pytest.mark.parametrize(
    ("uses", "file"),
    [("open('data.txt')", "data.txt"), ("open('data/a.csv')", "data/a.csv"), ("import helper", "helper.py")],
)
def test_a_file_that_is_not_committed_is_named(command_lab: Lab, uses: str, file: str) -> None:
    (command_lab.root / ".git" / "info").mkdir(exist_ok=True)
    (command_lab.root / ".git" / "info" / "exclude").write_text(f"{file}\n")
    (command_lab.root / file).parent.mkdir(exist_ok=True)
    (command_lab.root / file).write_text("x = 1\n")
    found = state_of(command_lab, bench_py=f"{uses}\nprint('METRIC score=3')\n")
    assert f"{file} is in your checkout, but not in the last commit" in found["number"][2]


@pytest.mark.parametrize("path", ["left.txt", "solver.py", "bench.py"])
def test_each_run_finds_the_commit_whatever_the_one_before_it_wrote(command_lab: Lab, path: str) -> None:
    grows = f"with open({path!r}, 'a') as file:\n    file.write('#')\nsize = len(open({path!r}).read())\n"
    found = state_of(command_lab, bench_py=f"from solver import X\n{grows}print(f'METRIC score={{X + size}}')\n")
    assert found["noise"][1].startswith("none: the same number")


@pytest.mark.parametrize("number", ["3", "random.random()"], ids=["constant", "noise alone"])
def test_a_number_that_does_not_follow_the_file(command_lab: Lab, number: str) -> None:
    seeded = "import os, random\nrandom.seed(os.environ['AUTORESEARCH_SEED'])\n"
    found = state_of(command_lab, bench_py=f"{seeded}print(f'METRIC score={{{number}}}')\n")
    assert found["follows"][0] == ("fail" if number == "3" else "note")
    if number == "3":
        assert found["broken"][0] == "fail" and "does not use the editable file" in found["broken"][2]
    else:
        assert found["noise"][0] == "note" and "steadier" in found["noise"][2]


def test_noise_is_no_share_of_a_logarithm(command_lab: Lab) -> None:
    values = "import os\nx = int(os.environ['AUTORESEARCH_SEED']) % 7\nprint(f'METRIC log_speedup={-0.06 - x / 100}')\n"
    lines = settings().replace("score", "log_speedup") + 'direction = "max"\n'
    found = state_of(command_lab, lab_toml=lines, bench_py=values)
    state, said, _ = found["noise"]
    assert state == "ok" and "%" not in said and said.endswith(" times as fast)")


@pytest.mark.slow
def test_a_program_that_is_better_broken_needs_a_guard(command_lab: Lab) -> None:
    fast = USES % "1 if work(3) is None else 2"
    found = state_of(command_lab, solver_py=WORK, bench_py=fast)
    assert found["broken"][0] == "fail" and "add guard" in found["broken"][2]
    assert "with functions that do nothing: still score 1" in found["broken"][1]
    (command_lab.root / "guard.py").write_text("from solver import work\nassert work(1) > 0\n")
    found = state_of(command_lab, lab_toml=settings(f"{sys.executable} -S guard.py"))
    assert found["broken"][0] == "ok" and "the guard failed" in found["broken"][1]


def test_a_worse_number_of_a_broken_program_is_no_danger(command_lab: Lab) -> None:
    found = state_of(command_lab, solver_py=WORK, bench_py=USES % "work(3) or 99")
    assert found["broken"][0] == "ok" and "which is worse" in found["broken"][1]


def test_the_last_commit_is_tried_with_its_submodules(command_lab: Lab, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    (other / "cases.txt").write_text("7\n")
    git(other, "add", "-A")
    git(other, "commit", "--quiet", "-m", "cases")
    git(command_lab.root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "cases")
    found = state_of(
        command_lab,
        bench_py="from solver import X\nprint(f'METRIC score={X + int(open(\"cases/cases.txt\").read())}')\n",
    )
    assert found["number"][1].startswith("score 11")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "def f(x):\n    return x\n\n\nclass A:\n    def g(self):\n        yield 1\n",
            "with functions that do nothing",
        ),
        ("X = 1\n", "with empty files"),
        ("def f(:\n", "with empty files"),
    ],
)
def test_what_is_broken(text: str, words: str) -> None:
    said, files = broken({"a.py": text, "b.txt": "two"})
    assert said == words and files["a.py"] != text
    assert files["b.txt"] == ("two" if words.startswith("with functions") else "")


def test_a_target_of_the_labs_own_gets_a_remedy_of_its_own(command_lab: Lab) -> None:
    toy = (ROOT / "tests" / "support" / "toy_target.py").read_text()
    found = state_of(command_lab, toy_py=toy, words_txt="two words", lab_toml='[target]\nkind = "toy:ToyKind"\n')
    assert found["broken"][0] == "fail" and "let the target check the results" in found["broken"][2]


def test_a_folder_without_git_is_told_to_begin_with_git(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(settings())
    done = command_line("check", cwd=tmp_path)
    assert done.returncode == 1 and "is not in a git checkout\nhint: `git init && git add -A" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_an_interrupted_check_leaves_no_copy_behind(command_lab: Lab, tmp_path: Path, ends: signal.Signals) -> None:
    (command_lab.root / "bench.py").write_text("while True:\n    pass\n")
    git(command_lab.root, "commit", "--quiet", "--all", "-m", "endless")
    copies = tmp_path / "copies"
    copies.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-m", "autoresearch_mlx", "check"],
        cwd=command_lab.root,
        env={**os.environ, "TMPDIR": str(copies)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None and child.stderr.readline() == "measures run 1 of 5\n"
    child.send_signal(ends)
    child.communicate(timeout=60)
    assert child.returncode == 130 and not any(copies.iterdir())
    assert end_orphans(copies) == 0, "the program has ended too"


QUALITY = (
    "from solver import work\nx = work(2)\nprint(f'METRIC score={0 if x is None else x}')\n"
    "print(f'METRIC quality={0 if x is None else 1}')\n"
)
LIMIT = '\n[[metric]]\nname = "quality"\ndirection = "max"\nlimit = %s\n'


def test_limits_are_shown_and_a_broken_program_that_breaks_one_is_no_danger(command_lab: Lab) -> None:
    found = state_of(command_lab, solver_py=WORK, bench_py=QUALITY, lab_toml=settings() + LIMIT % '"-5 %"')
    assert found["limit"] == ("ok", "quality 1; at most 5 % worse than the first version's", "")
    assert found["broken"][0] == "ok"
    assert "still score 0, but quality 0 is below its limit of 0.950000" in found["broken"][1]


def test_a_limit_that_the_unedited_commit_breaks_is_refused(command_lab: Lab) -> None:
    found = state_of(command_lab, solver_py=WORK, bench_py=QUALITY, lab_toml=settings() + LIMIT % "5")
    assert found["limit"][0] == "fail"
    assert found["limit"][1] == "quality 1 is below its limit of 5"
    assert "a night would refuse every edit" in found["limit"][2]


@pytest.mark.parametrize(("measures", "expected"), [("METRIC score=3", "fail"), ("METRIC score=300", "ok")])
def test_a_guard_that_goes_by_the_exit_code_alone_is_named(command_lab: Lab, measures: str, expected: str) -> None:
    bench = (
        f"text = open('solver.py').read()\nprint('{measures}' if '_exit' in text else f'METRIC score={{len(text)}}')\n"
    )
    guard = "from solver import work\nassert work(1) > 0\n"
    found = state_of(
        command_lab, solver_py=WORK, bench_py=bench, guard_py=guard, lab_toml=settings(f"{sys.executable} guard.py")
    )
    assert found["broken"][0] == expected
