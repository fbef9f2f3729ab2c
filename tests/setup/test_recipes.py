"""Each recipe makes a lab that measures at once, keeps an improvement, and refuses an edit that games its number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import command_line, git

from autoresearch_mlx.setup.recipes import recipes

pytestmark = pytest.mark.uncounted


def ended(lab: Path) -> list[tuple[str, str]]:
    """Return status and reason of each experiment after the baseline."""
    lines = map(json.loads, command_line("log", "--json", cwd=lab).stdout.splitlines())
    return [(e["status"], e["reason"]) for e in lines if e["number"] > 0]


def test_the_list_names_every_recipe_with_what_it_needs(tmp_path: Path) -> None:
    done = command_line("init", "--recipe", "list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for recipe in recipes():
        assert f"\n{recipe.name}\n" in f"\n{done.stdout}"
        assert recipe.number[:30] in done.stdout
    assert done.stdout.count("  needs") == len(recipes())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "check"), [("size", "honest"), ("speed", "same_output")])
def test_a_night_keeps_improvements_and_refuses_the_cheat(name: str, check: str, tmp_path: Path) -> None:
    assert command_line("init", "--recipe", name, "lab", cwd=tmp_path).returncode == 0
    lab = tmp_path / "lab"
    assert git(lab, "status", "--porcelain") == ""
    night = command_line("run", "--experiments", "3", "--agent", "scripted:edits.jsonl", cwd=lab)
    assert night.returncode == 0, night.stderr
    first, cheat, last = ended(lab)
    assert (first[0], last[0]) == ("keep", "keep")
    assert cheat[0] == "invalid" and cheat[1].startswith(f"the check {check!r} failed: ")
    shown = command_line("show", "2", cwd=lab).stdout
    assert "tests passed in " in shown and f"{check} failed in " in shown


def test_a_recipe_does_not_write_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text("seed = 1\n")
    done = command_line("init", "--recipe", "size", cwd=tmp_path)
    assert done.returncode == 1 and "is there already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["lab.toml"]


def test_an_unknown_recipe_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    done = command_line("init", "--recipe", "sise", "lab", cwd=tmp_path)
    assert done.returncode == 1 and "did you mean size?" in done.stderr and not (tmp_path / "lab").exists()


def test_a_night_whose_tool_is_missing_is_refused_with_the_command_that_installs_it(tmp_path: Path) -> None:
    assert command_line("init", "--recipe", "size", "lab", cwd=tmp_path).returncode == 0
    lab = tmp_path / "lab"
    settings = (lab / "lab.toml").read_text()
    (lab / "lab.toml").write_text(f'{settings}\n[tools]\nneeds = ["no-such-tool"]\ninstall = "sh get-tools.sh"\n')
    for command in ("run", "check"):
        done = command_line(command, cwd=lab)
        assert done.returncode == 1, done.stdout
        assert "no-such-tool, which is neither in" in done.stderr and "sh get-tools.sh" in done.stderr
    assert "sh get-tools.sh" in command_line("doctor", cwd=lab).stdout
    (lab / ".tools" / "bin").mkdir(parents=True)
    (lab / ".tools" / "bin" / "no-such-tool").symlink_to("/bin/true")
    assert command_line("run", "--experiments", "0", cwd=lab).returncode == 0
