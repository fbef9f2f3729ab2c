"""The docs are true: their commands run, their code works, and nothing is missing."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import nullcontext
from functools import reduce
from pathlib import Path

import pytest
from conftest import ROOT, command_line, git

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.scripted import Scripted
from autoresearch_mlx.cli import _COMMANDS
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Context, History
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.hardware.state import State
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import changed_knobs, read_knobs
from autoresearch_mlx.setup.recipes import find_recipe, recipes
from autoresearch_mlx.setup.selftest.checks import CHECKS
from autoresearch_mlx.targets.tools import Tools

pytestmark = pytest.mark.uncounted

README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "program.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def context() -> Context:
    files = {"train_mlx.py": (ROOT / "train_mlx.py").read_text()}
    return Context(1, "", files, History((), "val_bpb", "min"), "", 42)


def test_every_command_is_in_the_readme() -> None:
    for name in _COMMANDS:
        assert re.search(rf"`(autoresearch-mlx )?{name}\b", README), f"{name} is missing from the README"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"autoresearch-mlx ([a-z]+)\b", page.read_text()))
    assert named <= set(_COMMANDS), named - set(_COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.slow
def test_the_sieve_page_runs_as_written(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (script,) = blocks(ROOT / "docs" / "other-numbers.md", "console")
    lines = "\n".join(line.removeprefix("$ ") for line in script.splitlines())
    identity = {f"GIT_{who}_{what}": "me@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **identity, "PATH": path}
    done = subprocess.run(
        ["sh", "-ec", lines], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "8 experiments:" in done.stdout
    experiments = command_line("log", "--json", cwd=tmp_path / "mysieve").stdout.splitlines()
    assert [json.loads(e)["number"] for e in experiments] == list(range(9))
    page = (ROOT / "docs" / "other-numbers.md").read_text()
    assert (ROOT / "examples" / "sieve" / "lab.toml").read_text().splitlines()[0] in page


def test_the_blocks_of_the_page_on_other_numbers_are_settings(tmp_path: Path) -> None:
    lab, figures, checks, tools, _ = blocks(ROOT / "docs" / "other-numbers.md", "toml")
    (tmp_path / "lab.toml").write_text("\n".join((lab, figures, checks, tools)))
    found = load_settings(tmp_path).settings
    assert [each.name for each in found.metric] == ["milliseconds", "peak_memory_mb", "accuracy"]
    assert [each.name for each in found.check] == ["tests", "same_output"] and found.tools.needs == ("checkov",)


FEWER = {"MOST_MUTANTS = 60": "MOST_MUTANTS = 8", "DRAWN = 6 ": "DRAWN = 2 ", "PAIRS = 2 ": "PAIRS = 1 "}
"""Numbers of runs in the scripts of the recipes, and those that are enough to see an edit refused."""


def measure_less(lab: Path) -> None:
    """Let a lab's scripts repeat their runs less often, and commit that."""
    for script in lab.glob("*.py"):
        text = script.read_text()
        if (less := reduce(lambda found, each: found.replace(*each), FEWER.items(), text)) != text:
            script.write_text(less)
            git(lab, "commit", "--quiet", "-m", "fewer runs", "--", script.name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [recipe.name for recipe in recipes()])
def test_the_console_of_each_recipe_runs_as_written(name: str, tmp_path: Path) -> None:
    """The commands of a recipe make the lab, try it, and run a night that ends as on the page.

    The line that installs the tools is left out: the lab gets those of this environment, or the test is skipped.
    """
    (block,) = (each for each in blocks(ROOT / "docs" / "recipes.md", "console") if f"--recipe {name} " in each)
    lab, timed = tmp_path, False
    lines = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    wanted = find_recipe(name).tools
    assert wanted.install is None or wanted.install in lines
    if missing := Tools(Path(sys.prefix), wanted).missing():
        pytest.skip(f"not installed on this machine: {', '.join(missing)}")
    for line in lines:
        if line.startswith("cd "):
            lab = lab / line.removeprefix("cd ")
            if wanted.needs:
                (lab / wanted.folder).symlink_to(sys.prefix)
            measure_less(lab)
            settings = load_settings(lab).settings
            timed = settings.target.kind == "command" and settings.judge.mode != "margin"
            if timed:  # one run for each edit is enough here
                with (lab / "lab.toml").open("a") as file:
                    file.write('\n[judge]\nmode = "margin"\nmargin = 0.1\n')
        elif line.startswith("autoresearch-mlx "):
            options = ("--runs", "2") if line.endswith(" check") else ()
            own = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # a lab's own tools have none of the plugins that are here
            done = command_line(*shlex.split(line)[1:], *options, cwd=lab, **own)
            assert done.returncode == 0, done.stderr
    told = re.findall(r"^#\d +(\w+)  ", block, re.MULTILINE)
    experiments = [json.loads(line) for line in command_line("log", "--json", cwd=lab).stdout.splitlines()]
    states = [each["status"] for each in experiments]
    assert find_recipe(name).refused_by in experiments[2]["reason"]
    assert (states[2], "keep" in states[1:]) == (told[2], True) if timed else states == told


def test_the_console_of_the_agents_page_runs_as_written(command_lab: Lab) -> None:
    assert command_line("run", "--experiments", "1", "--agent", "knobs", cwd=command_lab.root).returncode == 0
    (script,) = blocks(ROOT / "docs" / "agents.md", "console")
    for line in script.splitlines():
        done = command_line(*shlex.split(line.removeprefix("$ autoresearch-mlx ")), cwd=command_lab.root)
        assert done.returncode == 0, done.stderr
    assert "tie the embeddings" in command_line("ideas", "--all", cwd=command_lab.root).stdout


@pytest.mark.slow
def test_the_hooks_of_the_hooks_page_run_as_written(command_lab: Lab) -> None:
    (settings,), (script,) = (blocks(ROOT / "docs" / "hooks.md", language) for language in ("toml", "python"))
    lab = command_lab.root
    (lab / "journal.py").write_text(script)
    (lab / "lab.toml").write_text(f"{(lab / 'lab.toml').read_text()}\n{settings}")
    worse = "".join(f'{{"title": "to {x}", "knobs": {{"X": {x}}}}}\n' for x in (7.0, 8.0, 9.0))
    (lab / "edits.jsonl").write_text(worse)
    done = command_line("run", "--experiments", "3", "--agent", "scripted:edits.jsonl", cwd=lab)
    assert done.returncode == 0, done.stderr
    assert (lab / "lessons.txt").read_text().splitlines()[1:] == [f"to {x}: discard" for x in (7.0, 8.0, 9.0)]
    (kept,) = lab.glob(".autoresearch/*/hooks.jsonl")
    events = [json.loads(line) for line in kept.read_text().splitlines()]
    assert "Three edits in a row" in events[-1]["text"] and "to 8.0: discard" in events[-2]["text"]


@pytest.mark.slow
def test_the_console_of_the_judging_page_runs_as_written(command_lab: Lab) -> None:
    done = command_line("try", "-m", "X nearer", cwd=command_lab.root)
    assert done.returncode == 1 and "nothing to try" in done.stderr
    (command_lab.root / "solver.py").write_text("X = 3.0\nY = 2\n")
    assert command_line("try", "-m", "X nearer", cwd=command_lab.root).returncode == 0
    (line,) = blocks(ROOT / "docs" / "judging.md", "console")
    done = command_line(*shlex.split(line.removeprefix("$ autoresearch-mlx ")), cwd=command_lab.root)
    assert done.returncode == 0, done.stderr
    assert "score better by 1" in done.stdout


def test_the_console_of_the_housekeeping_page_runs_as_written(command_lab: Lab) -> None:
    assert command_line("run", "--tag", "night", "--experiments", "0", cwd=command_lab.root).returncode == 0
    (script,) = blocks(ROOT / "docs" / "housekeeping.md", "console")
    for line in script.splitlines():
        done = command_line(*shlex.split(line.removeprefix("$ autoresearch-mlx ")), cwd=command_lab.root)
        assert done.returncode == 0, done.stderr
    assert Lab(command_lab.root).tags() == ["night", "night-2"]


@pytest.mark.slow
def test_the_console_of_the_merging_page_runs_as_written(command_lab: Lab) -> None:
    (command_lab.root / "solver.py").write_text("X = 3.0  # knob: lin 0 10\nY = 2  # knob: int 0 8\n")
    assert command_line("try", "-m", "X nearer", cwd=command_lab.root).returncode == 0
    (script,) = blocks(ROOT / "docs" / "merging.md", "console")
    for line in script.splitlines():
        done = command_line(*shlex.split(line.removeprefix("$ autoresearch-mlx ")), cwd=command_lab.root)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_console_of_the_lanes_page_runs_as_written(command_lab: Lab) -> None:
    (script,) = blocks(ROOT / "docs" / "lanes.md", "console")
    for line in script.splitlines():
        done = command_line(*shlex.split(line.removeprefix("$ autoresearch-mlx ")), cwd=command_lab.root)
        assert done.returncode == 0, done.stderr
    assert "\n6 experiments: " in done.stdout


@pytest.mark.slow
def test_the_console_of_the_team_page_runs_as_written(command_lab: Lab) -> None:
    (script,) = blocks(ROOT / "docs" / "team.md", "console")
    for line in script.splitlines():
        done = command_line(*shlex.split(line.removeprefix("$ autoresearch-mlx ")), cwd=command_lab.root)
        assert done.returncode == 0, done.stderr


def test_the_console_of_the_recovery_page_runs_as_written(command_lab: Lab) -> None:
    (line,) = blocks(ROOT / "docs" / "recovery.md", "console")
    done = command_line(*shlex.split(line.removeprefix("$ autoresearch-mlx ")), cwd=command_lab.root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 experiment: ")


def test_the_night_page_names_every_fact_of_a_record_and_its_console_runs(command_lab: Lab) -> None:
    page = ROOT / "docs" / "night.md"
    named = set(re.findall(r"`([a-z_]+)`", page.read_text().split("## Sleep")[0]))
    assert {*State().facts(), *State().company(), "speed_before", "speed_after"} <= named
    (line,) = blocks(page, "console")
    done = command_line(*shlex.split(line.removeprefix("$ autoresearch-mlx ")), cwd=command_lab.root)
    assert re.search(r"^  power .*\n  heat .*\n  memory now .*\n  sleep ", done.stdout, re.MULTILINE), done.stdout


def test_the_page_about_a_mac_explains_every_check_and_its_console_runs(command_lab: Lab) -> None:
    page = ROOT / "docs" / "mac.md"
    table = page.read_text().split("| check |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [check.name for check in CHECKS]
    (line,) = blocks(page, "console")
    done = command_line(*shlex.split(line.removeprefix("$ autoresearch-mlx ")), cwd=command_lab.root)
    assert done.returncode == 0, done.stderr


def test_the_console_of_the_hardware_page_runs_as_written(command_lab: Lab) -> None:
    (script,) = blocks(ROOT / "docs" / "hardware.md", "console")
    for line in script.splitlines():
        done = command_line(*shlex.split(line.removeprefix("$ autoresearch-mlx ")), cwd=command_lab.root)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["experiments"] == 20


def test_the_profiles_of_the_hardware_page_are_the_profiles() -> None:
    rows = re.findall(
        r"^\| (`cpu`|`mac-.*?|`cuda`) \|(.*)\|$", (ROOT / "docs" / "hardware.md").read_text(), re.MULTILINE
    )
    told = {name.strip("`"): row for names, row in rows for name in names.split(", ")}
    machine = Machine("Linux", "x86_64", None, None, None, None, None, "", None)
    assert len(told) == 7
    for name, row in told.items():
        profile = choose_profile(machine, name)
        depth, tokens, rows_of, budget, scored = (cell.strip() for cell in row.split("|")[1:])
        knobs = profile.knobs
        assert (int(depth), f"2^{knobs['TOTAL_BATCH_SIZE'].bit_length() - 1}") == (knobs["DEPTH"], tokens)
        assert rows_of == f"{knobs['DEVICE_BATCH_SIZE']} of {profile.seq_len:,}"
        assert (budget, scored) == (f"{profile.budget_seconds} s", f"{profile.eval_rows * profile.seq_len:,}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_agent_that_a_page_names_is_known(page: Path) -> None:
    for name in re.findall(r'--agent ("[^"]+"|[\w:./-]+)', page.read_text()):
        name = name.strip('"')
        if name in ("NAME", "halver:Halver", "scripted:edits.jsonl"):  # the file is in the lab of a recipe
            continue
        try:
            load_agent(name, Office(lend=lambda commit: nullcontext(ROOT)))
        except AgentError as error:
            expected = ("OPENAI_API_KEY", "hybrid needs a model", "is not on PATH")
            assert any(words in str(error) for words in expected), (name, error)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_a_page_shows_is_one(page: Path, tmp_path: Path) -> None:
    for toml in blocks(page, "toml"):
        (tmp_path / "lab.toml").write_text(toml)
        load_settings(tmp_path)


def test_the_agent_of_the_agents_page_works() -> None:
    code = next(block for block in blocks(ROOT / "docs" / "agents.md", "python") if "class Halver" in block)
    names: dict[str, object] = {}
    exec(code, names)
    proposal = names["Halver"]().propose(context())  # type: ignore[operator]
    assert changed_knobs(context().files["train_mlx.py"], proposal.files["train_mlx.py"]) == {"MATRIX_LR": (0.04, 0.02)}


def test_the_script_of_the_agents_page_fits_the_training_script(tmp_path: Path) -> None:
    (script,) = blocks(ROOT / "docs" / "agents.md", "json")
    (tmp_path / "edits.jsonl").write_text(script)
    agent = Scripted(tmp_path / "edits.jsonl")
    for number in range(1, len(script.splitlines()) + 1):
        first = context()
        again = Context(number, first.program, first.files, first.history, first.hardware, first.seed)
        assert agent.propose(again).files != first.files


def test_the_knob_comments_of_the_agents_page_are_read() -> None:
    code = next(block for block in blocks(ROOT / "docs" / "agents.md", "python") if "# knob:" in block)
    knobs = read_knobs(code)
    assert [k.kind for k in knobs.values()] == ["log", "int", "pow2", "lin", "choice", "fixed"]


def test_every_knob_of_the_training_script_has_a_range_or_is_a_pair() -> None:
    for knob in read_knobs((ROOT / "train_mlx.py").read_text()).values():
        assert knob.kind is not None or isinstance(knob.value, tuple) or knob.name == "POLAR_EXPRESS", knob.name


def test_the_training_script_stays_readable() -> None:
    assert len((ROOT / "train_mlx.py").read_text().splitlines()) <= 600


def test_no_file_of_the_package_outgrows_a_room() -> None:
    for path in (ROOT / "autoresearch_mlx").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path


@pytest.mark.slow
def test_the_console_of_the_share_page_runs_as_written(command_lab: Lab) -> None:
    (script,) = blocks(ROOT / "docs" / "share.md", "console")
    for line in script.splitlines():
        words = shlex.split(line.removeprefix("$ "))
        where = command_lab.root
        if words[0] == "git":
            subprocess.run(words, cwd=where, check=True)
        else:
            done = command_line(*words[1:], cwd=where)
            assert done.returncode == 0, done.stderr
