"""Recipes are listed, and make a lab.  tests/test_docs.py runs the night of each, as docs/recipes.md has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import command_line

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.tool_settings import ToolSettings
from autoresearch_mlx.setup.recipes import Recipe, recipes
from autoresearch_mlx.targets.tools import Tools, names_of

pytestmark = pytest.mark.uncounted


def test_the_list_names_every_recipe_with_what_it_needs(tmp_path: Path) -> None:
    done = command_line("init", "--recipe", "list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for recipe in recipes():
        assert f"\n{recipe.name}\n" in f"\n{done.stdout}"
        assert recipe.number[:30] in done.stdout
    assert done.stdout.count("  needs") == len(recipes())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_show_lists_each_check_with_its_state_and_time(tmp_path: Path) -> None:
    assert command_line("init", "--recipe", "size", "lab", cwd=tmp_path).returncode == 0
    done = command_line("run", "--experiments", "2", "--agent", "scripted:edits.jsonl", cwd=tmp_path / "lab")
    assert done.returncode == 0, done.stderr
    shown = command_line("show", "2", cwd=tmp_path / "lab").stdout
    assert "tests passed in " in shown and "honest failed in " in shown


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.name)
def test_the_edits_and_the_settings_of_each_recipe_can_be_read(recipe: Recipe) -> None:
    assert recipe.number and recipe.tool and recipe.guard and recipe.refused_by
    files = recipe.files()
    assert {"lab.toml", "program.md", "edits.jsonl", ".gitignore"} <= files.keys()
    assert len(files["edits.jsonl"].splitlines()) == 3
    assert all(each.install for each in (recipe.tools,) if each.needs)


def test_a_need_may_be_a_package_or_the_value_of_a_variable_and_is_named_as_a_person_calls_it(tmp_path: Path) -> None:
    needs = ("node_modules/axe-core/package.json", "no-such-browser | $NO_SUCH_VARIABLE | $HOME")
    tools = Tools(tmp_path / ".tools", ToolSettings(needs=needs, install="npm install axe-core"))
    assert tools.missing() == needs[:1] and tools.found(needs[1]) == os.environ["HOME"]
    with pytest.raises(LabError, match="measures with axe-core, which is neither in"):
        tools.refuse_missing()
    assert tools.found("$NO_SUCH_VARIABLE") is None
    assert names_of(needs[1])[1] == "the program that NO_SUCH_VARIABLE names"
    (tmp_path / ".tools" / "node_modules" / "axe-core").mkdir(parents=True)
    (tmp_path / ".tools" / "node_modules" / "axe-core" / "package.json").write_text("{}")
    assert tools.missing() == ()


def test_the_remedy_for_a_missing_tool_names_what_the_install_line_does_not_bring(tmp_path: Path) -> None:
    package = "node_modules/esbuild/package.json"

    def remedy(*missing: str, install: str | None = "npm install esbuild@1.2.3") -> str:
        system = tuple(need for need in missing if need != package)
        needs = tuple(need for need in missing if need == package)
        with pytest.raises(LabError) as caught:
            Tools(tmp_path / ".tools", ToolSettings(system=system, needs=needs, install=install)).refuse_missing()
        return caught.value.hint

    line = f"in {tmp_path}: npm install esbuild@1.2.3"
    assert remedy(package) == line
    assert remedy("no-node", package) == f"install no-node on this machine; then {line}"
    assert remedy("no-node") == "install no-node on this machine, or correct [tools] in lab.toml"
    assert remedy(package, install=None) == "install esbuild on this machine, or correct [tools] in lab.toml"


def test_a_file_that_recipes_share_is_in_the_lab_of_each() -> None:
    sharing = [recipe for recipe in recipes() if recipe.shared]
    assert {"a11y", "bundle", "coverage", "test-time"} <= {recipe.name for recipe in sharing}
    assert all(set(recipe.shared) <= recipe.files().keys() for recipe in sharing)


def test_a_recipe_does_not_write_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text("seed = 1\n")
    done = command_line("init", "--recipe", "size", cwd=tmp_path)
    assert done.returncode == 1 and "is there already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["lab.toml"]


def test_an_unknown_recipe_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    done = command_line("init", "--recipe", "sise", "lab", cwd=tmp_path)
    assert done.returncode == 1 and "did you mean size?" in done.stderr and not (tmp_path / "lab").exists()


@pytest.mark.slow
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
