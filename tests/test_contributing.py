"""The first two recipes of CONTRIBUTING.md: a target and an agent in a package outside this repository."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_runs import call, experiments, refused, script
from conftest import ROOT, git, write_command_lab
from outside_package import OutsidePackage, install

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, read

PAGE = "<p>one</p>\n" * 40 + "<p>abcdefghijklmnopqrstuvwxyz</p>\n"
EDITS = [
    {"title": "drop the alphabet", "files": {"page.html": "<p>one</p>\n" * 40}},
    {"title": "add noise", "files": {"page.html": "".join(f"<p>{n * n}</p>\n" for n in range(90))}},
    {"title": "one line", "files": {"page.html": "<p>one</p>\n"}},
]


def blocks(heading: str, language: str) -> list[str]:
    """Return the blocks of a language below a heading of CONTRIBUTING.md."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split(f"### {heading}\n")[1].split("\n### ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_the_files_that_the_page_names_exist() -> None:
    named = re.findall(r"`((?:autoresearch_mlx|tests|docs|bench)/[\w./-]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert len(named) > 15


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OutsidePackage]:
    """Install both examples, offered by the entry points of the recipes; remove them at the end."""
    target, agent = blocks("Add a target", "python"), blocks("Add an agent", "python")
    offered = tomllib.loads(blocks("Add a target", "toml")[0] + blocks("Add an agent", "toml")[0])
    folder = tmp_path_factory.mktemp("outside") / "site"
    yield install(folder, {"shortpage.py": target[0], "shifter.py": agent[0]}, offered["project"]["entry-points"])
    shutil.rmtree(folder)


def page_lab(root: Path) -> Lab:
    """Make a lab with the lab.toml of the recipe."""
    root.mkdir()
    (root / "page.html").write_text(PAGE)
    (root / "lab.toml").write_text(blocks("Add a target", "toml")[1])
    git(root, "init", "--quiet")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "a page")
    return Lab(root)


@pytest.mark.slow
def test_a_target_of_an_installed_package_runs_a_session(package: OutsidePackage, tmp_path: Path) -> None:
    lab = page_lab(tmp_path / "lab")
    arguments = ("--tag", "t", "--agent", script(lab, *EDITS), "--experiments", "3")
    ran = call(lab, "run", *arguments, **package.environment)
    assert ran.returncode == 0, ran.stderr
    assert experiments(lab) == {0: "keep", 1: "keep", 2: "discard", 3: "keep"}
    record = read(lab.folder("t") / FILE).session
    assert (record["target"], record["metric"], record["editable"]) == ("shortpage", "compressed_bytes", ["page.html"])
    assert record["conditions"] == {"level": 6}
    doctor = call(lab, "doctor", **package.environment)
    rows = [" ".join(line.split()) for line in doctor.stdout.splitlines()]
    assert "target.options.level 6 (lab.toml)" in rows
    assert "target.metric compressed_bytes (default)" in rows
    assert "compressed_bytes" in call(lab, "status").stdout

    # The conditions of a session cannot change in its middle; without the package, the error lists the known targets.
    toml = lab.root / "lab.toml"
    toml.write_text(toml.read_text().replace("level = 6", "level = 1"))
    changed = call(lab, "run", "--tag", "t", "--experiments", "4", **package.environment)
    assert "measures with target.options.level = 6, but lab.toml says 1" in changed.stderr
    toml.write_text(toml.read_text().replace("level = 1", "levle = 1"))
    misspelt = call(lab, "run", "--tag", "u", "--experiments", "1", **package.environment)
    assert "has no option target.options.levle\nhint: valid options: level" in misspelt.stderr
    gone = refused(lab, "run", "--tag", "v", "--experiments", "1")
    assert "there is no target 'shortpage'\nhint: target.kind in lab.toml must be one of pretrain, command" in gone


@pytest.mark.slow
def test_an_agent_of_an_installed_package_runs_a_session(package: OutsidePackage, tmp_path: Path) -> None:
    lab = write_command_lab(tmp_path / "lab")
    ran = call(lab, "run", "--tag", "t", "--agent", "shifter", "--experiments", "3", **package.environment)
    assert ran.returncode == 0, ran.stderr
    found = read(lab.folder("t") / FILE).history.experiments
    assert [e.agent for e in found[1:]] == ["shifter"] * 3
    assert [e.title for e in found[1:]] == ["Y = 3", "X = 6.0", "Y = 6"]
    gone = refused(lab, "run", "--tag", "u", "--agent", "shifter", "--experiments", "1")
    assert "there is no agent named 'shifter'" in gone
